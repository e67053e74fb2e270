"""The details pass: what a model's files say, each revision asked once, nothing hostile
believed.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hub_server import FILE_FAULTS, Faults, Hub, Repo, client, weights
from zoo.catalogue import Catalogue, utc_now
from zoo.errors import Unavailable, UserError
from zoo.loading.client import Client
from zoo.sources.details import Candidate, Details, fetch
from zoo.sources.hub import crawl, fetch_details
from zoo.sources.ledger import DETAILS, Ledger
from zoo.sources.listing import Scope
from zoo.terminal.progress import Progress

pytestmark = pytest.mark.journey

TIMM = {
    "architecture": "resnet18",
    "num_classes": 3,
    "num_features": 4,
    "label_names": ["cat", "dog", "golden retriever"],
    "pretrained_cfg": {
        "input_size": [3, 32, 32],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "classifier": "fc",
    },
}
TENSORS = weights({"conv1.weight": (4, 3, 3, 3), "fc.weight": (3, 4), "fc.bias": (3,)})
ROW = {
    "pipeline_tag": "image-classification",
    "library_name": "timm",
    "tags": ["timm", "safetensors"],
}


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "c.duckdb", write=True) as opened:
        yield opened


def details_of(
    files: dict[str, bytes], *, pipeline_tag: str | None = "image-classification", **options: Any
) -> dict[str, Any]:
    """The fields of one model with these files."""
    repo = Repo("org/model", ROW, files)
    with Hub(repos=(repo,)) as hub:
        hub.faults, hub.count["files"] = options.pop("faults", hub.faults), options.pop("phase", 0)
        return fetch(
            client(hub, **options), Candidate(id=repo.id, sha=repo.sha, pipeline_tag=pipeline_tag)
        ).fields


def timm_files(**changes: Any) -> dict[str, bytes]:
    return {"config.json": json.dumps(TIMM | changes).encode(), "model.safetensors": TENSORS}


# --- what is said


def test_a_timm_model_tells_labels_pipeline_head_and_size() -> None:
    fields = details_of(timm_files())
    assert fields["labels"] == ("cat", "dog", "golden retriever")
    assert (fields["label_source"], fields["num_classes"], fields["feature_dim"]) == (
        "config",
        3,
        4,
    )
    assert (fields["input_size"], fields["mean"], fields["interpolation"]) == (
        32,
        (0.5, 0.5, 0.5),
        "bicubic",
    )
    assert (fields["params_total"], fields["weight_bytes"]) == (4 * 27 + 15, len(TENSORS))
    assert fields["loadable"] is True
    assert fields["detail_state"] == "done"


def test_a_transformers_model_tells_its_pipeline_by_its_processor() -> None:
    config = {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_size": 4,
        "id2label": {"0": "cat", "1": "dog", "2": "hen"},
    }
    processor = {
        "size": {"height": 64, "width": 64},
        "image_mean": [0.1] * 3,
        "image_std": [0.2] * 3,
        "resample": 3,
    }
    fields = details_of(
        {
            "config.json": json.dumps(config).encode(),
            "preprocessor_config.json": json.dumps(processor).encode(),
            "model.safetensors": weights({"classifier.weight": (3, 4)}),
        }
    )
    assert (fields["labels"], fields["input_size"], fields["params_total"]) == (
        ("cat", "dog", "hen"),
        64,
        12,
    )
    assert (fields["mean"], fields["loadable"]) == ((0.1, 0.1, 0.1), True)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no config.json"),
        ({"config.json": b"{"}, "config.json is no JSON"),
        ({"config.json": b"[1]"}, "holds a list"),
        ({"config.json": b"\xff\xfe{}"}, "no JSON"),
        ({"config.json": json.dumps(TIMM).encode()}, "no safetensors weights"),
        (timm_files(auto_map={"AutoModel": "evil.Model"}), "code of its own"),
        (timm_files(architecture="resnet18; import os"), "knows no architecture"),
        (timm_files() | {"model.safetensors": TENSORS[:40]}, "cut off"),
        (timm_files() | {"model.safetensors": struct.pack("<Q", 2**60) + b"{}"}, "claims"),
        (timm_files() | {"model.safetensors": struct.pack("<Q", 9_000) + b"{}"}, "cut off"),
        (timm_files() | {"model.safetensors": TENSORS + bytes(10_000_000)}, "belong to no tensor"),
        (timm_files() | {"model.safetensors": b"\x02" + bytes(7) + b"[]"}, "not a JSON object"),
    ],
)
def test_a_faulty_model_has_its_reason_and_is_not_loadable(
    files: dict[str, bytes], reason: str
) -> None:
    fields = details_of(files)
    assert fields["loadable"] is False
    assert reason in fields["not_loadable_reason"]


def test_shards_are_enough() -> None:
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    files = {
        "config.json": json.dumps(TIMM).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    assert details_of(files)["loadable"] is True
    index["weight_map"]["b"] = "../../etc/passwd"
    fields = details_of(files | {"model.safetensors.index.json": json.dumps(index).encode()})
    assert fields["loadable"] is False
    assert "plain file name" in fields["not_loadable_reason"]


def test_a_header_longer_than_the_first_range_takes_a_second_request() -> None:
    many = weights({f"layer.{i}.weight": (1, 1) for i in range(2_000)} | {"fc.weight": (3, 4)})
    assert int.from_bytes(many[:8], "little") > 100_000
    repo = Repo(
        "org/model", ROW, {"config.json": json.dumps(TIMM).encode(), "model.safetensors": many}
    )
    with Hub(repos=(repo,)) as hub:
        fields = fetch(
            client(hub), Candidate(id=repo.id, sha=repo.sha, pipeline_tag="image-classification")
        ).fields
        assert fields["params_total"] == 2_012
        assert hub.count["cdn"] == 2


# --- hostile


def test_a_label_of_10_MB_costs_its_own_model_only() -> None:
    fields = details_of(timm_files(label_names=["cat", "x" * 10_000_000, "dog"]))
    assert fields["detail_state"] == "failed"
    assert "larger than" in fields["detail_error"]


def test_a_label_of_7_MB_is_cut() -> None:
    labels = details_of(timm_files(label_names=["cat", "x" * 7_000_000, "dog"]))["labels"]
    assert [len(label) for label in labels] == [3, 500, 3]


def test_two_million_labels_are_refused() -> None:
    fields = details_of(timm_files(num_classes=2_000_000, label_names=["a"] * 2_000_000))
    assert fields.get("labels") is None
    assert "larger than" in fields["detail_error"]
    fields = details_of(timm_files(num_classes=7, label_names=["a"] * 300_000))
    assert fields.get("labels") is None
    assert "more than" in fields["detail_error"]


def test_escape_sequences_and_sql_in_labels_are_text(catalogue: Catalogue) -> None:
    names = ["\x1b]0;owned\x07\x1b[2J", "'; DROP TABLE models; --", "x\u202etac"]
    repo = Repo("org/evil", ROW, timm_files(label_names=names))
    with Hub(repos=(repo,)) as hub:
        crawl(catalogue, client=client(hub), progress=Progress.silent())
    [card] = catalogue.cards(where="list_contains(labels, '''; DROP TABLE models; --')")
    assert card.labels is not None
    assert all(label.isprintable() for label in card.labels)
    assert catalogue.count() == 1


def test_a_server_without_ranges_is_read_no_further_than_the_header() -> None:
    large = weights(
        {"conv1.weight": (4, 3, 3, 3), "fc.weight": (3, 4), "big": (10_000, 1_000)}
    )  # 40 MB
    repo = Repo(
        "org/model", ROW, {"config.json": json.dumps(TIMM).encode(), "model.safetensors": large}
    )
    with Hub(repos=(repo,), faults=Faults(every=1, files=("no-range",))) as hub:
        candidate = Candidate(id=repo.id, sha=repo.sha, pipeline_tag="image-classification")
        tracemalloc.start()
        fields = fetch(client(hub, timeout=60), candidate).fields
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert fields["params_total"] == 10_000_120
    assert peak < 45_000_000 + len(
        large
    )  # the server shares this process: it holds the file and one copy


def test_a_gated_model_says_what_to_accept() -> None:
    repo = Repo("org/model", ROW | {"gated": "manual"}, timm_files())
    with Hub(repos=(repo,)) as hub:
        fields = fetch(client(hub), Candidate(id=repo.id, sha=repo.sha)).fields
    assert "accept its terms at http://127.0.0.1" in fields["not_loadable_reason"]


def test_a_revision_that_moved_between_listing_and_details_is_said_so(catalogue: Catalogue) -> None:
    repo = Repo("org/model", ROW, timm_files())
    with Hub(repos=(repo,)) as hub:
        crawl(catalogue, client=client(hub), details="none", progress=Progress.silent())
        repo.files["config.json"] = json.dumps(TIMM | {"num_features": 5}).encode()
        ledger = Ledger(catalogue)
        assert fetch_details(ledger, client(hub)).failed == 1
        ledger.merge_details()
        assert "is gone" in str(catalogue.cards()[0].detail_error)
        hub.world.touch(-1)
        crawl(catalogue, client=client(hub), update=True, progress=Progress.silent())
        assert (catalogue.cards()[0].loadable, catalogue.cards()[0].sha) == (True, repo.sha)


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=10,
)
KEYS = (
    "architecture",
    "architectures",
    "num_classes",
    "num_features",
    "label_names",
    "id2label",
    "pretrained_cfg",
    "auto_map",
    "image_size",
    "license",
    "hidden_size",
    "model_type",
)
CONFIGS = JSONS | st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSONS))


class _Canned(Client):
    """A client whose answers are given, so that thousands of them need no server."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__("http://127.0.0.1:9", token=False)
        self.files = files

    def get(
        self,
        url: str,
        *,
        kind: str,
        cap: int,
        first: int | None = None,
        enough: Any = None,
        check: Any = None,
    ) -> Any:
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.utils import httpx

        from zoo.loading.client import HubResponse

        name = url.rsplit("/", 1)[-1]
        if name not in self.files:
            raise EntryNotFoundError(
                "none", response=httpx.Response(404, request=httpx.Request("GET", url))
            )
        body = self.files[name]
        headers = {"content-range": f"bytes 0-{first}/{len(body)}"} if first else {}
        return HubResponse(url, 206 if first else 200, body[:first], headers)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(config=CONFIGS, processor=JSONS, tensors=st.binary(max_size=60) | JSONS)
def test_any_files_give_a_row_or_a_reason(
    catalogue: Catalogue, config: Any, processor: Any, tensors: Any
) -> None:
    header = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    found = fetch(
        _Canned(
            {
                "config.json": json.dumps(config).encode(),
                "preprocessor_config.json": json.dumps(processor).encode(),
                "model.safetensors": struct.pack("<Q", len(header)) + header,
            }
        ),
        Candidate(id="a/b", sha="0" * 40, pipeline_tag="image-classification"),
    )
    assert found.fields["detail_state"] in ("done", "failed")
    assert set(found.fields) <= set(DETAILS)
    Ledger(catalogue).save_details([("a/b", "0" * 40, found)])


# --- the pass


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_no_fault_of_the_line_changes_what_is_known(fault: str, phase: int) -> None:
    """The config is hit in one phase, the weights in the other."""
    fields = details_of(timm_files(), faults=Faults(every=2, files=(fault,), hang=1.3), phase=phase)
    assert (fields["params_total"], fields["loadable"], fields["labels"][0]) == (
        4 * 27 + 15,
        True,
        "cat",
    )


def test_every_candidate_is_asked_once_and_never_again(catalogue: Catalogue) -> None:
    with Hub(2_500) as hub:
        crawl(catalogue, client=client(hub), progress=Progress.silent())
        asked = {path for (kind, path) in hub.seen if kind == "files"}
        assert all(count == 1 for (kind, _), count in hub.seen.items() if kind in ("files", "cdn"))
        candidates = catalogue.count("detail_state IS NOT NULL")
        assert candidates > 100
        sent = sum(hub.count[kind] for kind in ("files", "cdn"))
        assert sent / candidates <= 2.1
        crawl(catalogue, client=client(hub), progress=Progress.silent())
        assert {path for (kind, path) in hub.seen if kind == "files"} == asked
        assert sum(hub.count[kind] for kind in ("files", "cdn")) == sent
        assert catalogue.count("detail_state IS NOT NULL") == candidates


def test_a_new_listing_forgets_no_details_and_a_new_revision_asks_again(
    catalogue: Catalogue,
) -> None:
    with Hub(600, hostile=False) as hub:
        crawl(catalogue, client=client(hub), progress=Progress.silent())
        before = catalogue.sql("SELECT * EXCLUDE (indexed_at, listing) FROM models ORDER BY id")
        crawl(catalogue, client=client(hub), details="none", progress=Progress.silent())
        assert (
            catalogue.sql("SELECT * EXCLUDE (indexed_at, listing) FROM models ORDER BY id")
            .astype(str)
            .equals(before.astype(str))
        )
        sent = hub.count["files"]
        s = next(
            s for s in range(600) if json.loads(hub.world.row(s)).get("library_name") == "timm"
        )
        hub.world.touch(s)
        crawl(catalogue, client=client(hub), update=True, progress=Progress.silent())
        assert hub.count["files"] - sent == 2


def test_a_cut_pass_keeps_what_it_has_and_asks_the_rest_later(catalogue: Catalogue) -> None:
    with Hub(1_500, hostile=False) as hub:
        crawl(catalogue, client=client(hub), details="none", progress=Progress.silent())
        ledger, dying = Ledger(catalogue), client(hub)
        real, count = dying.get, 0

        def dies(url: str, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count > 40:
                raise Unavailable("the line is cut")
            return real(url, **options)

        dying.get = dies  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="cut"):
            fetch_details(ledger, dying, workers=2)
        ledger.merge_details()
        kept = catalogue.count("detail_state = 'done'")
        assert 5 < kept < 45
        job = fetch_details(ledger, client(hub))
        ledger.merge_details()
        assert job.models == ledger.catalogue.count("detail_state IS NOT NULL") - kept
        assert max(count for (kind, _), count in hub.seen.items() if kind == "files") <= 2


@pytest.mark.parametrize("update", [False, True])
def test_a_crawl_cut_in_its_details_goes_on_there_and_lists_nothing_again(
    catalogue: Catalogue, update: bool
) -> None:
    with Hub(1_500, hostile=False) as hub:
        if update:
            crawl(catalogue, client=client(hub), progress=Progress.silent())
            hub.world.change(changed=700)
        dying = client(hub)
        real, count = dying.get, 0

        def dies(url: str, **options: Any) -> Any:
            nonlocal count
            count += options["kind"] == "files"
            if count > 30:
                raise Unavailable("the line is cut")
            return real(url, **options)

        dying.get = dies  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="cut"):
            crawl(catalogue, client=dying, update=update, progress=Progress.silent())
        listed = hub.count["api"]
        outcome = crawl(catalogue, client=client(hub), update=update, progress=Progress.silent())
        assert hub.count["api"] == listed
        assert "goes on with its details" in outcome[0]
        assert Ledger(catalogue).wanted().num_rows == 0
        crawl(catalogue, client=client(hub), update=update, progress=Progress.silent())
        assert hub.count["api"] > listed


def test_an_old_or_another_listing_is_made_anew_before_its_details(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub(300, hostile=False) as hub:

        def cut(*_: Any, **__: Any) -> None:
            raise Unavailable("the line is cut")

        def cut_in_details() -> int:
            with monkeypatch.context() as patch:
                patch.setattr("zoo.sources.hub.fetch_details", cut)
                with pytest.raises(Unavailable):
                    crawl(catalogue, client=client(hub), progress=Progress.silent())
            return hub.count["api"]

        listed = cut_in_details()
        crawl(catalogue, Scope(filters=("timm",)), client=client(hub), progress=Progress.silent())
        assert hub.count["api"] > listed
        listed = cut_in_details()
        crawl(catalogue, client=client(hub), update=True, progress=Progress.silent())
        assert hub.count["api"] > listed
        cut_in_details()
        later = utc_now() + dt.timedelta(days=8)
        monkeypatch.setattr("zoo.sources.listing.utc_now", lambda: later)
        listed = hub.count["api"]
        crawl(catalogue, client=client(hub), progress=Progress.silent())
        assert hub.count["api"] > listed


def test_a_faulty_expression_for_the_details_is_refused_before_the_listing(
    catalogue: Catalogue,
) -> None:
    with Hub(300, hostile=False) as hub:
        with pytest.raises(UserError, match="library_name"):
            crawl(
                catalogue,
                client=client(hub),
                details="libary_name = 'timm'",
                progress=Progress.silent(),
            )
        assert hub.count["api"] == 0


def test_the_small_zoo_says_on_the_hub_what_it_says_as_folders(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    from zoo.loading.download import fetch as download
    from zoo.sources import folder

    own = {card.id: card for card in folder.cards(folder.small_zoo(), source="small")}
    repos = tuple(Repo.of_folder(Path(card.location or "")) for card in own.values())
    with Hub(repos=repos) as hub:
        crawl(catalogue, client=client(hub), progress=Progress.silent())
        found = {card.id.removeprefix("zoo/"): card for card in catalogue.cards()}
        assert found.keys() == own.keys()
        for name, card in found.items():
            for column in (
                "labels",
                "num_classes",
                "params_total",
                "weight_bytes",
                "input_size",
                "mean",
                "loadable",
                "feature_dim",
            ):
                assert getattr(card, column) == getattr(own[name], column), (name, column)
        first = found[min(found)]
        here = download(first, endpoint=hub.url, cache=tmp_path / "hub")
        for path in here.iterdir():
            assert (
                path.read_bytes() == (Path(own[min(found)].location or "") / path.name).read_bytes()
            )


def test_details_of_a_chosen_part(catalogue: Catalogue) -> None:
    with Hub(800, hostile=False) as hub:
        crawl(
            catalogue,
            client=client(hub),
            details="library_name = 'timm'",
            progress=Progress.silent(),
        )
        assert catalogue.count("detail_state IS NOT NULL AND library_name <> 'timm'") == 0
        assert catalogue.count("detail_state = 'done'") > 0
        with pytest.raises(UserError, match="library_name"):
            crawl(
                catalogue,
                client=client(hub),
                details="libary_name = 'timm'",
                progress=Progress.silent(),
            )


def test_the_raw_files_are_kept_by_revision(catalogue: Catalogue) -> None:
    repo = Repo("org/model", ROW, timm_files())
    with Hub(repos=(repo,)) as hub:
        crawl(catalogue, client=client(hub), progress=Progress.silent())
    ledger = Ledger(catalogue)
    assert json.loads(ledger.config(repo.id, repo.sha) or "") == TIMM
    assert ledger.config(repo.id, "0" * 40) is None
    for sha, text in (("1", "old"), ("2", "x"), ("1", "new")):
        ledger.save_details([("a", sha, Details({}, {"config.json": text}))])
    assert [ledger.config("a", sha) for sha in ("1", "2", "3")] == ["new", "x", None]


def test_models_that_did_not_answer_are_asked_again_before_the_next_listing(
    catalogue: Catalogue,
) -> None:
    with Hub(300, hostile=False) as hub:
        listed_only = client(hub)
        crawl(catalogue, client=listed_only, details="none", progress=Progress.silent())
        silent = set(Ledger(catalogue).wanted().column("id").to_pylist()[:3])
        assert len(silent) == 3

        def crawled(unanswered: set[str]) -> tuple[int, list[str]]:
            deaf, listed = client(hub), hub.count["api"]
            real = deaf.get

            def get(url: str, **options: Any) -> Any:
                if any(f"/{model}/resolve" in url for model in unanswered):
                    raise Unavailable("no answer")
                return real(url, **options)

            deaf.get = get  # type: ignore[method-assign]
            sentences = crawl(catalogue, client=deaf, progress=Progress.silent())
            return hub.count["api"] - listed, sentences

        requests, sentences = crawled(silent)
        assert requests > 0
        assert "3 did not answer" in sentences[1]
        requests, sentences = crawled(set(list(silent)[:1]))
        assert (requests, "2 models" in sentences[1]) == (0, True)
        requests, sentences = crawled(set(list(silent)[:1]))  # asking it again did not help
        assert (requests, "1 did not answer" in sentences[1]) == (0, True)
        assert crawled(set())[0] > 0
