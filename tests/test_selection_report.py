"""The report says what the ranking says, keeps strangers' names harmless, and can be read
anywhere.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image
from plotly.graph_objects import Figure

from selection.evidence import Evidence
from selection.kinds.image import IMAGE
from selection.ranking import Ranking, Row
from selection.report.class_plan import class_plan, transport_plan
from selection.report.document import SHARED_TEMPLATES, render
from selection.report.figures import against_size, plan_heatmap, shorten
from selection.report.page import page, write
from selection.report.plots import label, labels
from selection.report.report import Report, make_examples
from selection.report.table import letter
from tests.browser import CHROMIUM, Browser
from tests.ranking_setting import row as ranking_row

pytestmark = pytest.mark.journey

HOSTILE = "</script><img src=http://evil.example/x onerror=\"document.title='owned'\"><!--"
CLASSES = ("cat", HOSTILE, "ship")
HOSTILE_DOG = "<b onclick=alert(1)>dog</b>"
TEACHER_CLASSES = (
    "tabby, tabby cat",
    "Egyptian cat",
    "liner, ocean liner",
    "<b onclick=alert(1)>dog</b>",
)


def evidence(*, head: bool = True, names: bool = True) -> Evidence:
    labels = np.array([0, 0, 1, 1, 2, 2, -1])
    sure = np.array([[0.83, 0.07, 0.05, 0.05], [0.03, 0.03, 0.04, 0.9], [0.1, 0.1, 0.7, 0.1]])
    probabilities = np.concatenate([np.repeat(sure, 2, axis=0), [[0.25] * 4]])
    return Evidence(
        features=np.ones((7, 2)),
        labels=labels,
        classes=CLASSES,
        probabilities=probabilities if head else None,
        teacher_classes=TEACHER_CLASSES if names else None,
    )


def row(
    model: str,
    value: float | None,
    group: int | None,
    *,
    error: str | None = None,
    params: int | None = 3_500_000,
) -> Row:
    return ranking_row(
        model,
        value,
        below=0.02,
        above=0.03,
        group=group,
        error=error,
        knn=None if value is None else 0.5 + value / 4,
        params_total=params,
        license="apache-2.0",
        seconds=1.25,
        scores={"leep": None if value is None else -value},
    )


@pytest.fixture(scope="module")
def report() -> Report:
    rows = (
        row("org/first", 0.812, 1),
        row("org/close", 0.805, 1),
        row(f"org/{HOSTILE}", 0.4, 2, params=None),
        row("org/" + "long-name-" * 12, -0.1, 3),
        row("org/broken", None, None, error=f"weights are a pickle {HOSTILE}"),
    )
    ranking = Ranking(
        task=f"my task {HOSTILE}",
        classes=CLASSES,
        split={"digest": "d" * 64, "seed": 1},
        probe={"size": 500, "seed": 0, "digest": "e" * 64},
        score="transport_names",
        catalogue="/somewhere/catalogue.duckdb",
        versions={"python": "3.11", "torch": HOSTILE},
        rows=rows,
        committee=("org/first",),
        warnings=(f"look out {HOSTILE}",),
    )
    answers = {
        "org/first": evidence(),
        "org/close": evidence(names=False),
        f"org/{HOSTILE}": evidence(head=False),
    }
    images = [
        Image.new("RGB", (size, size), (size, 90, 10)) for size in (8, 32, 64, 200, 96, 300, 20)
    ]
    plans = tuple(plan for model, seen in answers.items() if (plan := class_plan(model, seen)))
    shown = make_examples(
        images, [f"{i} {HOSTILE}.jpg" for i in range(7)], evidence().labels, answers, kind=IMAGE
    )
    return Report(
        ranking=ranking,
        meaning="what it costs to carry predictions to labels",
        plans=plans,
        examples=shown,
    )


# The plan


def test_plan_is_the_joint_distribution_with_the_probes_class_shares() -> None:
    seen = evidence()
    joint = transport_plan(seen)
    assert joint.shape == (4, 3)
    assert joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(joint.sum(axis=0), [1 / 3] * 3)
    assert seen.probabilities is not None
    slow = np.zeros((4, 3))
    for sample, true in zip(seen.probabilities, seen.labels, strict=True):
        if true >= 0:
            slow[:, true] += sample / 6
    np.testing.assert_allclose(joint, slow)


def test_plan_is_the_exact_transport_plan_to_one_hot_targets() -> None:
    ot = pytest.importorskip("ot")
    seen = evidence()
    assert seen.probabilities is not None
    cost = np.random.default_rng(0).random((4, 3))
    plans = [
        ot.emd(p / p.sum(), np.eye(3)[y], cost)
        for p, y in zip(seen.probabilities[:6], seen.labels[:6], strict=True)
    ]
    np.testing.assert_allclose(transport_plan(seen), np.mean(plans, axis=0), atol=1e-9)


def test_plan_needs_classes_and_labels() -> None:
    with pytest.raises(ValueError, match="no classes of its own"):
        transport_plan(evidence(head=False))
    with pytest.raises(ValueError, match="no labelled sample"):
        transport_plan(replace(evidence(), labels=np.full(7, -1)))


def test_class_plan_columns_sum_to_one_and_name_the_strongest() -> None:
    made = class_plan("m", evidence())
    assert made is not None
    np.testing.assert_allclose(made.shares.sum(axis=0) + made.other_shares, 1)
    assert made.best_matches()[:2] == [
        (TEACHER_CLASSES[3], HOSTILE, pytest.approx(0.9)),
        (TEACHER_CLASSES[0], "cat", pytest.approx(0.83)),
    ]
    assert (made.teacher_class_count, made.task_class_count) == (4, 3)


def test_class_plan_without_names_counts_and_without_head_is_none() -> None:
    made = class_plan("m", evidence(names=False))
    assert made is not None
    assert made.best_matches()[0][0] == "class 3"
    assert class_plan("m", evidence(head=False)) is None


def test_class_plan_of_many_classes_is_cut_and_says_so() -> None:
    rng = np.random.default_rng(0)
    classes = tuple(f"c{i}" for i in range(100))
    probabilities = rng.dirichlet(np.full(300, 0.02), size=400)
    many = Evidence(
        features=np.ones((400, 2)),
        labels=np.arange(400) % 100,
        classes=classes,
        probabilities=probabilities,
    )
    made = class_plan("m", many)
    assert made is not None
    assert len(made.task_classes) == 40
    assert made.task_class_count == 100
    assert made.shares.shape == (len(made.teacher_classes), 40)
    assert len(made.teacher_classes) <= 48
    np.testing.assert_allclose(made.shares.sum(axis=0) + made.other_shares, 1)


def test_examples_take_classes_in_turn_and_skip_teachers_without_classes(report: Report) -> None:
    assert [example.label for example in report.examples] == [
        "cat",
        HOSTILE,
        "ship",
        "cat",
        HOSTILE,
        "ship",
    ]
    first = report.examples[0]
    assert list(first.guesses) == ["org/first", "org/close"]
    guesses = first.guesses["org/first"]
    assert guesses[0] == ("tabby, tabby cat", pytest.approx(0.83))
    assert guesses[1].probability >= guesses[2].probability


def test_thumbnails_are_small_and_carry_no_metadata(report: Report) -> None:
    noisy = Image.new("RGB", (2000, 1000))
    noisy.info["comment"] = b"secret place"
    made = IMAGE.preview(noisy).picture
    assert b"secret" not in made
    assert max(Image.open(io.BytesIO(made)).size) == 192


# The page as text


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        (self.scripts if self.tags and self.tags[-1][0] == "script" else self.words).append(data)


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return page(report)


def test_every_row_is_in_the_table_with_its_figures(text: str) -> None:
    words = " ".join(Parsed(text).words)
    for piece in (
        "0.812",
        "0.792 to 0.842",
        "70.3%",
        "3.5M",
        "-0.812",
        "failed: weights are a pickle",
        "org/broken",
        "abababab",
    ):
        assert piece in words, piece
    assert words.index("0.812") < words.index("0.805") < words.index("org/broken")


def reasons() -> dict[str, object]:
    member = {
        "model": f"org/{HOSTILE}",
        "gain": 0.5,
        "alone": 0.75,
        "together": 0.8,
        "classes": [HOSTILE, "ship"],
    }
    passed = [
        {
            "model": f"org/p{i}",
            "gain": 0.0,
            "twin": None,
            "why": f"its answers are those of {HOSTILE}",
        }
        for i in range(7)
    ]
    return {
        "sentence": "1 of at most 3: no other",
        "images": 128,
        "members": [member],
        "passed": passed,
        "uncovered": ["cat"],
    }


def test_the_committee_is_explained_and_its_names_stay_text(report: Report) -> None:
    ranking = replace(report.ranking, committee_reasons=reasons())
    text = page(replace(report, ranking=ranking))
    for words in (
        "1 of at most 3",
        "75.0%",
        "80.0%",
        "0.500",
        "128 probe images",
        "2 more",
        "No member knows more",
    ):
        assert words in text
    assert HOSTILE not in text
    assert text.count("its answers are those of") == 7
    nobody = replace(
        ranking,
        committee=(),
        committee_reasons=reasons() | {"members": [], "sentence": "none: no model tells"},
    )
    assert "None: no model tells" in page(replace(report, ranking=nobody))


def test_rows_of_earlier_rounds_are_in_the_table_but_not_in_the_pictures(report: Report) -> None:
    rows = tuple(
        replace(
            row,
            probe_size=None if row.value is None else 500 if i < 2 else 64,
            dropped=f"round 1 of 4: {HOSTILE}" if i == 2 else None,
        )
        for i, row in enumerate(report.ranking.rows)
    )
    rounds = [{"images": 64, "models": 4}, {"images": 500, "models": 2}]
    ranking = replace(
        report.ranking,
        rows=rows,
        candidates={
            "known": 5,
            "loadable": 5,
            "probed": 4,
            "rounds": rounds,
            "left_out": {"budget": 3, "budget_gb": 1, "limit": 2},
        },
    )
    text = page(replace(report, ranking=ranking))
    drawn = json.loads(re.search(r'id="figures">(.*?)</script>', text, flags=re.S)[1])  # type: ignore[index]
    assert len(drawn["intervals"]["data"][0]["y"]) == 2
    assert "sizes" not in drawn
    assert "2 more fell behind" in text
    assert "4 on 64, 2 on 500 images" in text
    assert "left unprobed: 2 beyond the shortlist, 3 for want of time, 1 for their download" in text
    assert "round 1 of 4: " in text
    assert HOSTILE not in text


def test_the_first_sentence_says_when_it_is_too_close_to_call(report: Report) -> None:
    assert "too close to call" in _lead(report)
    assert "org/close does as well" in _lead(report)
    alone = replace(
        report,
        ranking=replace(report.ranking, rows=(row("only", 1.0, 1), row("far", 0.1, 2))),
        plans=(),
    )
    assert "too close" not in _lead(alone)
    assert "Best teacher: only. It is ahead of the other one" in _lead(alone)


def test_the_page_gives_the_next_command_and_explains_every_column(report: Report) -> None:
    text = page(replace(report, command=f"python -m distill.train --task '{HOSTILE}'", saved=False))
    assert "Next, add --out ranking.json to this command" in text
    assert "<code>python -m distill.train --task" in text
    assert HOSTILE not in text
    for head in ("score", "interval", "tie", "knn", "bal.", "leep", "images", "params", "s"):
        assert f"<dt>{head}</dt>" in text
    assert "transport_names: how cheaply" in text
    assert "<code>" not in page(report)


def _lead(report: Report) -> str:
    lead = re.search(r'<p class="lead">(.*?)</p>', page(report))
    assert lead
    return lead[1]


def test_a_ranking_in_which_everything_failed_is_still_a_page(report: Report) -> None:
    nothing = replace(report.ranking, rows=(row("a", None, None, error="no head"),))
    failed = Report(ranking=nothing, meaning=report.meaning)
    assert "No model could be ranked" in _lead(failed)
    assert "failed: no head" in page(failed)


def test_names_of_strangers_stay_text(text: str) -> None:
    parsed = Parsed(text)
    assert not [attrs for _, attrs in parsed.tags if any(name.startswith("on") for name in attrs)]
    assert [tag for tag, _ in parsed.tags].count("script") == 3
    assert "</script><img" not in text
    assert "<!--" not in text.split("<script>")[0]
    assert {
        attrs["src"].split(":")[0] for tag, attrs in parsed.tags if tag == "img" and attrs["src"]
    } == {"data"}


def test_nothing_outside_the_page_is_named(text: str) -> None:
    parsed = Parsed(text)
    names = ("src", "href", "srcset", "action", "data")
    links = [value for _, attrs in parsed.tags for name in names if (value := attrs.get(name))]
    assert links
    assert [link for link in links if not link.startswith(("data:", "#"))] == []
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_figures_are_strict_json_without_ends_of_script(text: str) -> None:
    element = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert element
    figures = json.loads(element[1], parse_constant=lambda constant: pytest.fail(constant))
    assert list(figures) == ["intervals", "sizes", "plan0", "plan1"]
    assert len(figures["intervals"]["data"][0]["x"]) == 4
    assert len(figures["sizes"]["data"][0]["x"]) == 3  # one size is unknown, one model failed


def test_each_guard_against_markup_holds_alone() -> None:
    assert "<" not in label(HOSTILE, 200)
    made = class_plan("m", evidence())
    assert made
    assert [name for name in plan_heatmap(made).data[0].y[:-1] if "<" in name] == []
    title = f"{HOSTILE} & more"
    text = render(
        SHARED_TEMPLATES / "base.html.jinja",
        values={},
        figures={"figure": Figure(layout_title_text=title)},
    )
    embedded = text.split('id="figures">')[1].split("</script>")[0]
    assert not set("<>&") & set(embedded)
    assert json.loads(embedded)["figure"]["layout"]["title"]["text"] == title


def test_equal_names_stay_different_categories() -> None:
    assert len({*labels(["crane", "crane", "crane"])}) == 3
    assert [name.strip("\u200b") for name in labels(["crane", "<b>", "crane"])] == [
        "crane",
        "&lt;b&gt;",
        "crane",
    ]


def test_a_value_that_the_page_forgets_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text(
        '{% extends "base.html.jinja" %}{% block body %}{{ absent }}{% endblock %}'
    )
    with pytest.raises(UndefinedError, match="absent"):
        render(tmp_path / "own.html", values={}, figures={})


def test_long_names_lose_their_middle_and_sizes_get_round_ticks(report: Report) -> None:
    assert shorten("google-coral__mobilenetv2_100.qat_inat_bird", 20) == "google-co…_inat_bird"
    assert shorten("short", 20) == "short"
    ticks = against_size(
        [row("a", 1.0, 1, params=400_000), row("b", 0.5, 1, params=4_000_000)], score="knn"
    )
    shown = dict(zip(ticks.layout.xaxis.ticktext, ticks.layout.xaxis.tickvals, strict=True))
    assert {
        "500k": 500_000,
        "1M": 1_000_000,
        "2M": 2_000_000,
        "5M": 5_000_000,
    }.items() <= shown.items()


def test_letters_are_those_of_groups() -> None:
    assert [letter(group) for group in (1, 2, 26, 27, None)] == ["a", "b", "z", "27", "–"]


def test_write_is_whole_or_not_at_all(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "report.html"
    write(report, path)
    before = path.read_text()
    assert before.startswith("<!DOCTYPE html>")
    monkeypatch.setattr("selection.report.page.page", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(report, path)
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


# The page in a browser

drawn = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def written(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write(report, path)
    return path


@drawn
@pytest.mark.parametrize("width", [360, 1200])
def test_it_is_drawn_without_errors_requests_or_sideways_scrolling(
    browser: Browser, written: Path, width: int
) -> None:
    browser.open(written, width=width)
    assert browser.console == []
    assert [
        request for request in browser.requests if not request.startswith(("data:", "file:///"))
    ] == []
    pictures = (
        "[...document.querySelectorAll('[role=img]')].map(e =>"
        " e.querySelectorAll('svg.main-svg').length > 0)"
    )
    assert browser.evaluate(pictures) == [True] * 4
    assert browser.evaluate("document.querySelectorAll('.scatterlayer .point').length") >= 7
    assert browser.evaluate("document.querySelectorAll('.heatmaplayer image').length") == 2
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


@drawn
@pytest.mark.parametrize("width", [400, 1280])
def test_long_sections_are_folded_and_drawn_when_they_are_unfolded(
    browser: Browser, report: Report, tmp_path: Path, width: int
) -> None:
    sections = (
        "Object.fromEntries([...document.querySelectorAll('details.section')].map(section =>"
        " [section.querySelector('summary').textContent.trim().replace(/\\s+/g, ' '),"
        " section.open]))"
    )
    write(replace(report, examples=report.examples[:4]), tmp_path / "short.html")
    browser.open(tmp_path / "short.html", width=width)
    assert browser.evaluate(sections) == {
        "From their classes to mine 3 teachers": True,
        "What they see in my images 4 images": True,
        "What the columns mean 10 columns": False,
    }

    shares = np.full((30, 3), 1 / 30)
    plan = replace(
        report.plans[0],
        teacher_classes=tuple(f"class {i}" for i in range(30)),
        shares=shares,
        other_shares=np.zeros(3),
    )
    write(replace(report, plans=(plan,)), tmp_path / "long.html")
    browser.open(tmp_path / "long.html", width=width)
    assert browser.evaluate(sections) == {
        "From their classes to mine 3 teachers": False,
        f"What they see in my images {len(report.examples)} images": False,
        "What the columns mean 10 columns": False,
    }
    figure = "document.querySelectorAll('#plan0 svg.main-svg').length"
    assert browser.evaluate(figure) == 0
    browser.evaluate(
        "document.querySelector('details.section').open = true;"
        "new Promise(done => setTimeout(done, 200))"
    )
    assert browser.evaluate(figure) > 0
    inside = "document.querySelector('#plan0').closest('.scroll').getBoundingClientRect()"
    drawn_width = "document.querySelector('#plan0 svg.main-svg').getBoundingClientRect().width"
    assert browser.evaluate(drawn_width) >= browser.evaluate(f"{inside}.width")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.console == []


@drawn
def test_dark_mode_changes_page_and_pictures_while_open(browser: Browser, written: Path) -> None:
    look = (
        "[['body', 'backgroundColor'], ['#intervals .xtick text', 'fill'], ['#intervals .points"
        " path', 'fill']].map(([selector, property]) =>"
        " getComputedStyle(document.querySelector(selector))[property])"
    )
    browser.open(written, dark=True)
    dark = browser.evaluate(look)
    assert max(map(int, re.findall(r"\d+", dark[0]))) < 64
    browser.scheme(dark=False)
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    light = browser.evaluate(look)
    assert min(map(int, re.findall(r"\d+", light[0]))) > 224
    assert all(a != b for a, b in zip(dark, light, strict=True))


@drawn
def test_only_colours_are_looked_up_in_the_stylesheet(browser: Browser, tmp_path: Path) -> None:
    template = '{% extends "base.html.jinja" %}{% block body %}<div id="f"></div>{% endblock %}'
    (tmp_path / "own.html").write_text(template)
    drawn = Figure(layout={"title": {"text": "var(--bad)", "font": {"color": "var(--bad)"}}})
    text = render(tmp_path / "own.html", values={}, figures={"f": drawn})
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    browser.open(tmp_path / "page.html")
    assert browser.console == []
    title = "document.querySelector('.gtitle')"
    assert browser.evaluate(f"{title}.textContent") == "var(--bad)"
    assert browser.evaluate(f"getComputedStyle({title}).fill") == "rgb(168, 32, 44)"


@drawn
def test_a_hostile_name_runs_nothing(browser: Browser, written: Path) -> None:
    browser.open(written)
    assert browser.evaluate("document.title").startswith("Teachers for my task </script>")
    assert (
        browser.evaluate(
            "[...document.images].filter(image => !image.src.startsWith('data:')).length"
        )
        == 0
    )
    assert browser.evaluate("document.querySelectorAll('[onerror], [onclick]').length") == 0
    # Even a script that got in would not run: only the page's own two are allowed by their hash.
    browser.evaluate(
        "{ const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); }"
    )
    assert browser.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in line for line in browser.console)


@drawn
def test_the_keyboard_reaches_what_scrolls_and_names_are_given(
    browser: Browser, written: Path
) -> None:
    browser.open(written, width=360)
    scrolls = (
        "[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0 &&"
        " e.getAttribute('aria-label'))"
    )
    assert browser.evaluate(scrolls)
    assert browser.evaluate(
        "[...document.querySelectorAll('[role=img]')].every(e => e.getAttribute('aria-label'))"
    )
    assert browser.evaluate("[...document.images].every(image => image.alt)")
    assert browser.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])"
        ".every((level, i, all) => i === 0 ? level === 1 : level <= all[i - 1] + 1)"
    )
