"""Which text encoders of transformers can teach, and what is peculiar to each family.

Names only: nothing here imports torch or transformers, so that a crawl can ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD = "ForSequenceClassification"
_HEADLESS = ("Model", "ForMaskedLM", "ForPreTraining")  # the heads of the latter two are left out


@dataclass(frozen=True, kw_only=True)
class Family:
    """What is peculiar to one family of encoders.

    Attributes
    ----------
    pooler : bool
        Whether the constructor of the bare encoder has a switch for a pooling layer.
    offset : bool
        Whether positions are counted from behind the padding token's number, so that the table of
        positions holds that many fewer tokens.
    sees_padding : bool
        Whether padding changes the answers in spite of the mask; texts of different length are
        then run apart.
    """

    pooler: bool = True
    offset: bool = False
    sees_padding: bool = False


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A network as ``config.json`` names it: ``built`` is the class that is built of it."""

    built: str
    has_head: bool
    family: Family


_PLAIN, _BARE, _OFFSET = Family(), Family(pooler=False), Family(offset=True)
FAMILIES: dict[str, Family] = {
    "Albert": _PLAIN,
    "Bert": _PLAIN,
    "Camembert": _OFFSET,
    "ConvBert": Family(pooler=False, sees_padding=True),
    "Data2VecText": _OFFSET,
    "Deberta": _BARE,
    "DebertaV2": _BARE,
    "DistilBert": _BARE,
    "Electra": _BARE,
    "Ernie": _PLAIN,
    "EuroBert": _BARE,
    "Gte": _PLAIN,
    "MPNet": _OFFSET,
    "MegatronBert": _PLAIN,
    "MobileBert": _PLAIN,
    "ModernBert": _BARE,
    "NomicBert": _PLAIN,
    "RemBert": _PLAIN,
    "RoFormer": _BARE,
    "Roberta": _OFFSET,
    "RobertaPreLayerNorm": _OFFSET,
    "SqueezeBert": _BARE,
    "XLMRoberta": _OFFSET,
    "XLMRobertaXL": _OFFSET,
}
_NAME = re.compile(rf"({'|'.join(FAMILIES)})({HEAD}|{'|'.join(_HEADLESS)})")
# Families whose answers are no sum over the tokens of the text, or that need more than a text.
REFUSED = (
    (r"Funnel\w*", "pools its tokens from layer to layer, so that no mask fits them"),
    (r"(FNet|Nystromformer|Yoso|Mra)(?=[A-Z])\w*", "lets padding change what it answers"),
    (r"(XLNet|XLM|Flaubert)(?=Model|For|With)\w*", "wants its texts padded or ended otherwise"),
    (r"(Longformer|BigBird|Reformer)(?=[A-Z])\w*", "attends in windows, made for long texts"),
    (
        r"(LayoutLM|Luke|Tapas|Canine|RoCBert|Xmod|Esmc?)(?=[A-Z])\w*",
        "takes more than words",
    ),
)


def encoder(architecture: str | None) -> Encoder | None:
    """How the text encoder of that class name is built; None where it is none that is known."""
    matched = _NAME.fullmatch(architecture or "")
    if not matched:
        return None
    name, end = matched.groups()
    has_head = end == HEAD
    return Encoder(
        built=f"{name}{HEAD if has_head else 'Model'}",
        has_head=has_head,
        family=FAMILIES[name],
    )


def refusal(architecture: str) -> str | None:
    """Why an encoder of that class name is none of ``FAMILIES``, where that is known."""
    for pattern, reason in REFUSED:
        if re.fullmatch(pattern, architecture):
            return reason
    return None
