from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from trainer.base.errors import TrainerError
from trainer.columns import blocks, build
from trainer.contract.read import MartReplacedError, one_build, read_contract
from trainer.contract.schema import normal_type


def test_inputs_follow_the_contract_and_spread_lists(toy: Any, tmp_path: Path) -> None:
    contract = read_contract(toy().write(tmp_path / "marts"))
    assert [i.name for i in contract.inputs] == [
        "user_id",
        "item_id",
        "item_rate",
        "user_count",
        "device",
        "scene_counts.home",
        "scene_counts.search",
        "scene_counts.video",
        "ctx_dense.price",
        "ctx_ids.city",
        "ctx_ids.hour",
    ]
    kinds = {i.name: (i.kind, i.transform, i.is_id) for i in contract.inputs}
    assert kinds["scene_counts.video"] == ("dense", "log1p", False)
    assert kinds["ctx_ids.city"] == ("categorical", "none", False)
    assert kinds["user_id"] == ("categorical", "none", True)
    assert contract.scenes == ("home", "search", "video")
    assert contract.lineage["manifest"] is None


def test_a_new_column_is_a_new_input(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    meta = {"role": "feature", "kind": "dense", "transform": "none", "group": "item"}
    mart.columns.append({"name": "brand_new", "data_type": "double", "meta": meta})
    mart.set("brand_new", [0.5] * len(mart.rows["label"]))
    assert "brand_new" in {i.name for i in read_contract(mart.write(tmp_path / "marts")).inputs}


def test_texts_and_histories_are_no_inputs_yet(toy: Any, tmp_path: Path) -> None:
    mart = toy(300)
    meta = {"role": "history", "kind": "list", "group": "user"}
    mart.columns.append({"name": "last_items", "data_type": "string[]", "meta": meta})
    contract = read_contract(mart.set("last_items", [["i1"]] * 300).write(tmp_path / "marts"))
    assert contract.column("last_items").role == "history"
    assert not {"last_items", "title_text_id"} & {i.column for i in contract.inputs}


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("ARRAY<DOUBLE>", "double[]"),
        ("double[]", "double[]"),
        ("list(varchar)", "string[]"),
        ("TEXT", "string"),
        ("timestamp with time zone", "timestamp"),
        ("varchar(16)", "string"),
    ],
)
def test_types_have_one_spelling(spelled: str, normal: str) -> None:
    assert normal_type(spelled) == normal


def test_highest_version_is_the_default_and_the_parent_folder_will_do(toy: Any, tmp_path: Path) -> None:
    marts = toy().write(tmp_path / "marts" / "toy")
    (marts / "training_examples_v1").rename(marts / "training_examples_v10")
    toy(300).write(marts)
    assert read_contract(marts).folder.name == "training_examples_v10"
    assert read_contract(tmp_path / "marts", "training_examples_v1").n_rows == 300


def test_manifest_that_agrees_is_recorded(toy: Any, tmp_path: Path) -> None:
    mart = toy()
    (tmp_path / "target").mkdir()
    mart.manifest(tmp_path / "target" / "manifest.json")
    lineage = read_contract(mart.write(tmp_path / "marts")).lineage
    assert lineage["manifest"]["invocation_id"] == "invocation-2"
    assert lineage["invocation_id"] == "invocation-1"


def _edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


STG_EVENTS = "model.first_impression.stg_events"
MANIFEST_CHANGES = {
    "other checksum": (lambda n, uid: n[STG_EVENTS].update(checksum={"checksum": "zzzz"}), "stg_events"),
    "other type": (lambda n, uid: n[uid]["columns"]["item_rate"].update(data_type="bigint"), "item_rate"),
    "other transform": (lambda n, uid: n[uid]["columns"]["user_count"]["meta"].update(transform="none"), "user_count"),
    "column gone": (lambda n, uid: n[uid]["columns"].pop("device"), "device"),
    "column new": (
        lambda n, uid: n[uid]["columns"].update(extra={"name": "extra", "data_type": "int", "meta": {"role": "label"}}),
        "extra",
    ),
    "model gone": (lambda n, uid: n.pop(uid), "training_examples"),
}


@pytest.mark.parametrize("change", MANIFEST_CHANGES)
def test_manifest_that_differs_is_named(toy: Any, tmp_path: Path, change: str) -> None:
    mart = toy(300)
    manifest = mart.manifest(tmp_path / "manifest.json")
    edit, named = MANIFEST_CHANGES[change]
    _edit(manifest, lambda m: edit(m["nodes"], "model.first_impression.training_examples.v1"))
    with pytest.raises(TrainerError, match=named) as error:
        read_contract(mart.write(tmp_path / "marts"), manifest=manifest)
    assert "dbt build" in str(error.value)


def test_column_missing_in_parquet_is_named(toy: Any, tmp_path: Path) -> None:
    marts = toy(300).write(tmp_path / "marts")
    path = next(marts.rglob("*.parquet"))
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["device"]), path)
    with pytest.raises(TrainerError, match="Column device: the contract promises it as string"):
        read_contract(marts)


def test_other_type_in_parquet_is_named(toy: Any, tmp_path: Path) -> None:
    marts = toy(300).write(tmp_path / "marts")
    _edit(
        next(marts.rglob("build.json")),
        lambda r: next(c for c in r["columns"] if c["name"] == "item_rate").update(data_type="bigint"),
    )
    with pytest.raises(TrainerError, match=r"Column item_rate: the contract says bigint, .* holds double"):
        read_contract(marts)


def test_column_the_contract_lacks_is_named(toy: Any, tmp_path: Path) -> None:
    marts = toy(300).write(tmp_path / "marts")
    _edit(
        next(marts.rglob("build.json")), lambda r: r.update(columns=[c for c in r["columns"] if c["name"] != "device"])
    )
    with pytest.raises(TrainerError, match=r"Column device: .* has it, the contract doesn't"):
        read_contract(marts)


def test_half_a_mart_is_refused(toy: Any, tmp_path: Path) -> None:
    marts = toy(300).write(tmp_path / "marts")
    next(marts.rglob("*.parquet")).unlink()
    with pytest.raises(TrainerError, match="counts 300 rows"):
        read_contract(marts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["columns"][11]["meta"].update(transform="log"), "meta transform is 'log' .did you mean 'log1p'"),
        (lambda r: r["columns"][11]["meta"].pop("role"), "Column item_rate .* meta role is None"),
        (lambda r: r["columns"][4]["meta"].update(role="time"), "expected one column with role label, found 0"),
        (lambda r: r["columns"][13].update(data_type="struct"), "Column device .* 'struct' can't be read"),
        (
            lambda r: r["columns"][11]["meta"].update(kind="categorical"),
            "item_rate .* kind categorical can't have the type double",
        ),
        (lambda r: r["vars"].pop("ctx_ids"), "Column ctx_ids .* `names` is ctx_ids"),
        (lambda r: r["vars"].update(scenes=[]), "names no scenes"),
        (lambda r: r.pop("node_checksums"), "lacks node_checksums"),
    ],
)
def test_bad_records_are_named(toy: Any, tmp_path: Path, change: Any, message: str) -> None:
    marts = toy(300).write(tmp_path / "marts")
    _edit(next(marts.rglob("build.json")), change)
    with pytest.raises(TrainerError, match=message):
        read_contract(marts)


def test_missing_places_are_named(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"No folder .*nowhere.*`dbt build`"):
        read_contract(tmp_path / "nowhere")
    with pytest.raises(TrainerError, match="holds no training_examples"):
        read_contract(tmp_path)
    marts = toy(300).write(tmp_path / "marts")
    with pytest.raises(TrainerError, match="did you mean 'training_examples_v1'"):
        read_contract(marts, "training_example_v1")
    with pytest.raises(TrainerError, match="No manifest"):
        read_contract(marts, manifest=tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(TrainerError, match="isn't a dbt manifest"):
        read_contract(marts, manifest=tmp_path / "broken.json")
    next(marts.rglob("build.json")).unlink()
    with pytest.raises(TrainerError, match="expected one build record, found 0"):
        read_contract(marts)


def test_a_mart_published_anew_while_it_is_read_is_read_again(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice another build takes the mart's place while it is read: the third is what is met."""
    builds = []
    for number in range(3):
        mart = toy(600)
        mart.record = {"invocation_id": f"build-{number}"}
        builds.append(mart.set("user_count", [number] * 600).write(tmp_path / str(number)) / "training_examples_v1")
    place = tmp_path / "marts" / "training_examples_v1"
    place.parent.mkdir()
    coming = iter(builds)
    next(coming).rename(place)
    real = blocks.ordered

    def ordered(*what: Any) -> Any:
        if (new := next(coming, None)) is not None:
            place.rename(tmp_path / f"before {new.parent.name}")
            new.rename(place)
        return real(*what)

    monkeypatch.setattr(blocks, "ordered", ordered)
    contract, columns = build.open_mart(tmp_path / "marts")
    assert contract.lineage["invocation_id"] == "build-2"
    assert set(columns.dense_ND[:, columns.dense_names.index("user_count")]) == {2.0}
    assert len(list(build.cache_root().glob("columns/*"))) == 1, "nothing of the builds that gave way was kept"


def test_a_mart_that_is_wrong_and_stays_is_an_error(toy: Any, tmp_path: Path) -> None:
    marts = toy(300).write(tmp_path / "marts")
    next((marts / "training_examples_v1").glob("*/*.parquet")).write_bytes(b"no Parquet")
    with pytest.raises(TrainerError, match="can't be read as Parquet"):
        build.open_mart(marts)


def test_a_manifest_that_dbt_is_writing_is_waited_for(toy: Any, tmp_path: Path) -> None:
    mart = toy(300)
    marts, manifest = mart.write(tmp_path / "marts"), mart.manifest(tmp_path / "manifest.json")
    whole = manifest.read_text()
    manifest.write_text(whole[: len(whole) // 2])
    threading.Timer(0.15, manifest.write_text, [whole]).start()
    assert read_contract(marts, manifest=manifest).lineage["manifest"]["invocation_id"] == "invocation-2"


def test_what_goes_wrong_because_the_mart_was_replaced_is_told_as_that(toy: Any, tmp_path: Path) -> None:
    folder = toy(300).write(tmp_path / "marts") / "training_examples_v1"
    with pytest.raises(FileNotFoundError), one_build(folder):
        (folder / "nothing").read_text()
    with pytest.raises(MartReplacedError, match="anew while it was read"), one_build(folder):
        (folder / "_build" / "build.json").write_text("{}")
        (folder / "nothing").read_text()
    with pytest.raises(MartReplacedError), one_build(folder, "an earlier one"):
        pass
