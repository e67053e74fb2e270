"""The HTML of a report: one page, everything inline, every name escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from selection.ranking import Ranking, Row
from selection.report.bridge import Bridge
from selection.report.document import Figure, document
from selection.report.document import text as _text
from selection.report.figures import against_size, first, heatmap, intervals
from selection.report.table import left_unprobed, letter, size, summary

if TYPE_CHECKING:
    from selection.report.report import Example, Report

_FEWEST_SIZES = 3  # models whose sizes are worth a picture


def page(report: Report) -> str:
    """The page as text. Every name in it comes from strangers and is escaped; scripts run only if
    their hash is allowed.
    """
    figures, title = _figures(report), f"Teachers for {_text(report.ranking.task, 80)}"
    return document(
        title,
        [
            '<a class="skip" href="#table">Skip to the table</a>',
            "<main>",
            _opening(report, title),
            _ranking(report, figures),
            _committee(report.ranking),
            _teachers(report, figures),
            _gallery(report),
            _table(report.ranking),
            _closing(report.ranking),
            "</main>",
        ],
        figures,
    )


def _figures(report: Report) -> dict[str, Figure]:
    rows, score = report.ranking.finalists, report.ranking.score
    figures: dict[str, Figure] = {}
    if report.best:
        figures["intervals"] = intervals(rows, score=score)
    if sum(bool(row.params_total) for row in rows) >= _FEWEST_SIZES:
        figures["sizes"] = against_size(rows, score=score)
    return figures | {f"plan{i}": heatmap(bridge) for i, bridge in enumerate(report.bridges)}


def _opening(report: Report, title: str) -> str:
    ranking = report.ranking
    facts = {
        "Task": f"{_text(ranking.task, 60)}, {len(ranking.classes)} classes",
        "Probe": f"{ranking.probe.get('size', '?')} images, seed {ranking.probe.get('seed', '?')}",
        "Models": (
            f"{sum(row.value is not None for row in ranking.rows)} ranked, "
            f"{sum(row.value is None for row in ranking.rows)} failed"
        ),
    }
    rounds = ranking.candidates.get("rounds", ())
    if len(rounds) > 1:
        facts["Rounds"] = (
            ", ".join(f"{one['models']} on {one['images']}" for one in rounds) + " images"
        )
    lines = [f"<h1>{title}</h1>", f'<p class="lead">{_answer(ranking)}</p>']
    lines.append(
        '<dl class="facts">'
        + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts.items())
        + "</dl>"
    )
    lines.append(f"<p>Score: <b>{_text(ranking.score, 60)}</b>. {_text(report.meaning, 600)}</p>")
    names = ", ".join(f"<b>{_text(name, 60)}</b>" for name in ranking.committee)
    lines.append(
        '<p><a href="#committee">Committee</a>, the models that teach best together:'
        f" {names or 'none'}.</p>"
    )
    if ranking.candidates:
        lines.append(
            f'<p class="note">{_text(". ".join(filter(None, (summary(ranking), left_unprobed(ranking)))), 600)}.</p>'  # noqa: E501
        )
    if ranking.warnings:
        items = "".join(f"<li>{_text(line, 400)}</li>" for line in ranking.warnings)
        lines.append(f'<div class="warnings" role="note"><b>Please note</b><ul>{items}</ul></div>')
    return "\n".join(lines)


def _answer(ranking: Ranking) -> str:
    ranked = [row for row in ranking.rows if row.value is not None]
    if not ranked:
        return "No model could be ranked; the table below has the reasons."
    tied = [row for row in ranked if row.group == ranked[0].group]
    if len(tied) == 1:
        return f"<b>{_text(ranked[0].model)}</b> is the most related teacher."
    others = f"{len(tied) - 1} other{'s' if len(tied) > 2 else ''}"
    return (
        f"<b>{_text(ranked[0].model)}</b> comes first, but {others} cannot be told from it on this"
        " probe: too close to call."
    )


def _ranking(report: Report, figures: Mapping[str, Figure]) -> str:
    parts = ["<h2>Ranking</h2>"]
    ranked = len(report.ranking.finalists)
    if "intervals" in figures:
        shown = len(figures["intervals"]["data"][0]["y"])
        caption = (
            f"{f'The best {shown} of {ranked}. ' if shown < ranked else ''}Dots are the score"
            " (higher is better), lines its 95 % interval, diamonds the accuracy of plain nearest"
            " neighbours (knn) in the same features, the cheap baseline. Models on the same band"
            " are too close to call: resampling the probe does not decide between them and the"
            " best of them. The best band is coloured."
        )
        behind = sum(row.value is not None for row in report.ranking.rows) - ranked
        if behind:
            caption += (
                f" {behind} more fell behind on fewer images; the table at the end has them, with"
                " the reason."
            )
        parts.append(_figure("intervals", "Ranking of the models by score with intervals", caption))
    if "sizes" in figures:
        parts.append("<h2>Score against size</h2>")
        parts.append(
            _figure(
                "sizes",
                "Score against number of parameters",
                "Numbers are places in the ranking. Up is better, "
                "left is smaller; models whose size is unknown are left out.",
            )
        )
    parts.append(
        '<noscript><p class="note">The pictures need JavaScript; the table has every'
        " figure.</p></noscript>"
    )
    return "\n".join(parts)


def _committee(ranking: Ranking) -> str:
    """Who teaches, what each adds, which classes each knows best, and why the next best were passed
    over.
    """
    why = ranking.committee_reasons
    if not why:
        return ""
    parts = [
        '<h2 id="committee">Committee</h2>',
        f"<p>{_text(_capital(why['sentence']), 400)}.</p>",
    ]
    if why["members"]:
        parts.append(_members(why["members"]))
        parts.append(
            '<p class="note">What a model adds is likelihood of the right class, in nats an image'
            " (0.69 doubles it), "
            f"where it knows more than those above it; read on {why['images']} probe images, "
            "each left out of its own class.</p>"
        )
    if why["members"] and why["uncovered"]:
        names = ", ".join(_text(name, 40) for name in why["uncovered"][:40])
        parts.append(f"<p>No member knows more than the frequency of: {names}.</p>")
    items = [
        f"<li><b>{_text(one['model'], 60)}</b>: {_text(one['why'], 300)}</li>"
        for one in why["passed"]
    ]
    if items:
        hidden = (
            f"<details><summary>{len(items) - 5}"
            f" more</summary><ul>{''.join(items[5:])}</ul></details>"
            if items[5:]
            else ""
        )
        parts.append(f'<h3>Not chosen</h3><ul class="passed">{"".join(items[:5])}</ul>{hidden}')
    return "\n".join(parts)


def _members(members: Sequence[Mapping[str, Any]]) -> str:
    heads = '<th scope="col" class="model">teacher</th>' + "".join(
        f'<th scope="col">{name}</th>' for name in ("adds", "right alone", "right together")
    )
    heads += '<th scope="col" class="classes">my classes that it knows best</th>'
    lines = []
    for one in members:
        names = (
            ", ".join(_text(name, 40) for name in one["classes"][:30])
            or "none; it sharpens the others"
        )
        more = f" and {len(one['classes']) - 30} more" if len(one["classes"]) > 30 else ""
        lines.append(
            '<tr><th scope="row"'
            f' class="model">{_text(one["model"], 120)}</th><td>{one["gain"]:.3f}</td><td>{one["alone"]:.1%}</td><td>{one["together"]:.1%}</td><td'  # noqa: E501
            f' class="classes">{names}{more}</td></tr>'
        )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="The committee"><table'
        ' class="committee">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _teachers(report: Report, figures: Mapping[str, Figure]) -> str:
    parts = [
        "<h2>From their classes to mine</h2>",
        (
            "<p>Where the probability goes that a teacher gives to my images: the transport plan"
            " between its classes and mine. Each column is one of my classes and sums to 1.</p>"
        ),
    ]
    made = {bridge.model: i for i, bridge in enumerate(report.bridges)}
    for row in report.best:
        parts.append(f"<h3>{_text(row.model)}</h3>")
        if row.model not in made:
            parts.append(
                '<p class="note">It has no classes of its own: only its features can teach.</p>'
            )
            continue
        bridge = report.bridges[made[row.model]]
        mine = len(bridge.classes)
        caption = f"The strongest of its {bridge.known} classes"
        caption += (
            f", for the {mine} of my {bridge.asked} classes that it meets best."
            if mine < bridge.asked
            else "."
        )
        parts.append(
            _figure(
                f"plan{made[row.model]}",
                f"Transport plan of {_text(row.model)}",
                caption,
                wide=mine,
            )
        )
        parts.append(_bridges(bridge))
    return "\n".join(parts) if report.best else ""


def _bridges(bridge: Bridge) -> str:
    items = [
        f"<li><span>{_text(first(theirs), 60)} →"
        f" {_text(mine, 40)}</span><span>{share:.2f}</span></li>"
        for theirs, mine, share in bridge.strongest()
    ]
    shown, rest = "".join(items[:12]), "".join(items[12:])
    more = (
        f"<details><summary>{len(items) - 12} more</summary><ul"
        f' class="bridges">{rest}</ul></details>'
        if rest
        else ""
    )
    return f'<ul class="bridges">{shown}</ul>{more}'


def _figure(name: str, description: str, caption: str, *, wide: int = 0) -> str:
    # A wide heatmap scrolls in its own box, so that the page never does; a box that scrolls must
    # take the keyboard's focus.
    width = f' style="min-width:{180 + 22 * wide}px"' if wide else ""
    drawing = f'<div id="{name}" role="img" aria-label="{description}"{width}></div>'
    if wide:
        drawing = (
            '<div class="scroll" tabindex="0" role="region"'
            f' aria-label="{description}">{drawing}</div>'
        )
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def _gallery(report: Report) -> str:
    if not report.examples:
        return ""
    return (
        "<h2>What they see in my images</h2>\n<p>Images of the probe with the nearest classes of"
        " the best teachers and the "
        "probability they give them.</p>\n<ul"
        f' class="gallery">{"".join(map(_card, report.examples))}</ul>'
    )


def _card(example: Example) -> str:
    kind = "image/png" if example.thumbnail.startswith(b"\x89PNG") else "image/jpeg"
    source = f"data:{kind};base64,{base64.b64encode(example.thumbnail).decode()}"
    small = ' class="small"' if kind == "image/png" else ""
    label = _text(example.label, 60)
    answers = "".join(
        f"<h3>{_text(model, 60)}</h3><ol>{''.join(_guess(*guess) for guess in top)}</ol>"
        for model, top in example.answers
    )
    return (
        f'<li><div class="head"><img{small} src="{source}" alt="A probe image of'
        f' {label}"><div><b>{label}</b><br>'
        f'<span class="file">{_text(example.name, 60)}</span></div></div>'
        f"{answers or '<p class=note>No teacher here has classes of its own.</p>'}</li>"
    )


def _guess(name: str, probability: float) -> str:
    width = f"{100 * probability:.0f}%"
    return (
        "<li><i"
        f' style="width:{width}"></i><span>{_text(name, 48)}</span><span>{probability:.2f}</span></li>'  # noqa: E501
    )


def _table(ranking: Ranking) -> str:
    further = sorted({name for row in ranking.rows for name in row.scores})
    heads = [
        "",
        "model",
        "score",
        "95 % interval",
        "tie",
        "knn",
        *further,
        "images",
        "parameters",
        "seconds",
        "licence",
        "source",
        "revision",
    ]
    head = "".join(
        f'<th scope="col"{" class=model" if name == "model" else ""}>{_text(name, 40)}</th>'
        for name in heads
    )
    rows = "".join(
        _line(place, row, further, len(heads)) for place, row in enumerate(ranking.rows, 1)
    )
    return (
        '<h2 id="table">Everything</h2>\n<p class="note">Models that share a letter are too close'
        " to call. knn is leave-one-out nearest-neighbour accuracy on the probe. Values on"
        " different numbers of images are not compared: most images first. Seconds are what"
        ' probing and scoring took when it was done.</p>\n<div class="scroll" tabindex="0"'
        ' role="region" aria-label="Table of all'
        f' models"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _line(place: int, row: Row, further: Sequence[str], columns: int) -> str:
    dropped = f'<br><span class="file">{_text(row.dropped, 200)}</span>' if row.dropped else ""
    model = f'<th scope="row" class="model">{_text(row.model, 120)}{dropped}</th>'
    if row.value is None:
        reason = _text(row.error or "unknown", 400)
        return (
            f'<tr><td>–</td>{model}<td class="reason" colspan="{columns - 2}">failed:'
            f" {reason}</td></tr>"
        )
    cells = [
        _number(row.value),
        f"{_number(row.low)} to {_number(row.high)}",
        letter(row.group),
        "–" if row.knn is None else f"{row.knn:.1%}",
        *(_number(row.scores.get(name)) for name in further),
        str(row.probe_size or "–"),
        size(row.params_total),
        "–" if row.seconds is None else f"{row.seconds:.1f}",
    ]
    words = [row.license or "unknown", row.source, row.revision[:8]]
    return (
        f"<tr><td>{place}</td>{model}"
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "".join(f'<td class="words">{_text(word, 40)}</td>' for word in words)
        + "</tr>"
    )


def _closing(ranking: Ranking) -> str:
    versions = ", ".join(
        f"{_text(name, 30)} {_text(version, 30)}" for name, version in ranking.versions.items()
    )
    probe, split = (
        _text(str(made.get("digest", "?")), 12) for made in (ranking.probe, ranking.split)
    )
    return (
        f"<footer><p>Made by teacher-zoo from probe {probe}, split {split}, catalogue"
        f" {_text(ranking.catalogue, 80)}. {versions}.</p></footer>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
