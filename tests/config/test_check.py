"""Every config composes and checks; every mistake is named by its full path, all in one message,
quickly."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hydra import compose, initialize_config_dir

from coldlm.config import online_combinations
from coldlm.config.build import NODE_GROUPS, build, is_allowed
from coldlm.config.check import check, file_problems, problems
from coldlm.config.completion import complete
from coldlm.config.compose import make_plan, plain
from coldlm.config.explain import explain
from coldlm.config.schedules import label_of
from coldlm.config.schema import GONE, MOVED, Control, typed, under_todays_keys
from coldlm.config.signatures import check_value, fields_of, fields_of_dataclass
from coldlm.config.tree import CONF, list_options
from coldlm.core.columns import CONTROLS, Range
from coldlm.core.errors import ConfigError
from coldlm.models.backbones import checkpoints

OPTIONS = [(group, option) for group, options in list_options().items() for option in options]
NODES = [(group, option) for group, option in OPTIONS if group in NODE_GROUPS]
EXPERIMENTS = list_options()["experiment"]
NEEDED = {
    **{
        ("split", name): ["online=off"]
        for name in ("loo", "random", "per_user", "loo_at_once", "time_at_once")
    },
    ("head", "pair"): ["loss=binary_cross_entropy"],
    ("head", "causal_lm"): ["loss=nll", "backbone=tiny_gpt2"],
    ("loss", "nll"): ["head=causal_lm", "backbone=tiny_gpt2"],
    ("backbone", "scratch_bert"): ["pretrain=masked_lm"],
    ("backbone", "scratch_roberta"): ["pretrain=masked_lm"],
    ("backbone", "scratch_gpt2"): ["pretrain=causal_lm"],
    ("pretrain", "causal_lm"): ["backbone=scratch_gpt2"],
    ("online", "peso"): ["strategy=lora"],
    ("online", "lsat"): ["strategy=lora", "strategy.stream_adapters=1"],
    ("online", "adapter_per_update"): ["strategy=lora", "strategy.stream_adapters=1"],
    ("online/regulariser", "peso"): ["strategy=lora"],
    ("online/regulariser", "der"): ["online/data=replay"],
    ("online/scope", "adapter"): ["strategy=lora"],
    ("online/scope", "new_items"): ["head.delta=0.5"],
    ("online/scope", "short_adapter"): ["strategy=lora", "strategy.stream_adapters=1"],
    ("online/scope", "next_adapter"): ["strategy=lora", "strategy.stream_adapters=1"],
    **{
        ("tuned", name): [f"strategy={name.rpartition('_')[2]}"] for name in list_options()["tuned"]
    },
}
"""What an option cannot stand without."""

TINY = ["backbone=tiny_bert", "dataset=simulated"]
"""A run that needs no file at all."""

SPEAKS = ["head=causal_lm", "loss=nll", "backbone=tiny_gpt2"]
PAIR = ["head=pair", "loss=binary_cross_entropy"]


NO_SHARES = ["split.train=null", "split.validation=null"]


def compose_plain(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("run", list(overrides)))


def test_the_tree_is_all_there() -> None:
    assert len(OPTIONS) >= 45
    assert set(list_options()) >= {
        *NODE_GROUPS,
        "online",
        "trainer",
        "control",
        "experiment",
        "sweep",
    }


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda value: value)
def test_every_option_composes_and_checks(group: str, option: str) -> None:
    assert problems(compose_plain(f"{group}={option}", *NEEDED.get((group, option), []))) == []


@pytest.mark.parametrize("control", list_options()["control"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_control_composes_on_top_of_every_experiment(experiment: str, control: str) -> None:
    assert problems(compose_plain(f"experiment={experiment}", f"control={control}")) == []


@pytest.mark.parametrize(("group", "option"), NODES, ids=lambda value: value)
def test_every_file_of_a_thing_sets_all_keys_of_its_target(group: str, option: str) -> None:
    own = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    node = own
    for file in own.pop("defaults", []):
        if file != "_self_":
            node = (
                yaml.safe_load((CONF / f"{file.partition('@')[0].strip('/')}.yaml").read_text())
                | own
            )
    assert node.keys() == {"_target_", *fields_of(node["_target_"])}


@pytest.mark.parametrize(
    "file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.relative_to(CONF).as_posix()
)
def test_every_file_says_first_what_it_is(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")


def test_controls_are_those_that_tables_ask_for() -> None:
    names = fields_of_dataclass(Control)["name"].annotation.__args__
    assert set(names) == {"none", *CONTROLS} == set(list_options()["control"])


def test_a_control_wins_over_an_experiment_and_drops_what_lost_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /strategy: lora\nstrategy: {rank: 2}\nhead: "
        "{context: 'off'}\n"
    )
    line = [*TINY, "experiment=mine", f"hydra.searchpath=[file://{tmp_path}]"]
    assert compose_plain(*line)["strategy"]["rank"] == 2
    config = compose_plain(*line, "control=context_only")
    assert config["strategy"] == {"_target_": "coldlm.models.strategy.frozen"}
    assert config["head"]["context"] == "only"
    assert problems(config) == []


def test_a_runtime_must_be_installed_and_computes_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = ["backbone=minilm", "backbone.runtime=openvino"]
    assert problems(compose_plain(*line)) == []
    (problem,) = problems(compose_plain(*line, "trainer=gpu"))
    assert "computes on the CPU, but trainer.accelerator=gpu" in problem
    monkeypatch.setattr("coldlm.config.model_combinations.find_spec", lambda name: None)
    (problem,) = problems(compose_plain(*line))
    assert 'pip install "coldlm[openvino]", or backbone.runtime=torch' in problem


@pytest.mark.parametrize("split", ["loo", "time_at_once"])
def test_lists_are_not_ranked_under_a_split_without_a_stream(split: str) -> None:
    line = [
        "backbone=tiny_bert",
        "dataset=news/mind",
        "evaluate.candidates=impression",
        f"split={split}",
        "online=off",
    ]
    (problem,) = problems(compose_plain(*line))
    assert f"goes with split=time alone, got split={split}" in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            ["evaluate.k_shot=[1,2]"],
            "evaluate.k_shot: got [1, 2], allowed: ascending numbers that begin with 0",
        ),
        (["evaluate.k_shot=[0,2,1]"], "evaluate.k_shot: got [0, 2, 1], allowed: ascending"),
        (["evaluate.k_shot=[0,1,1]"], "evaluate.k_shot: got [0, 1, 1], allowed: ascending"),
        (["evaluate.k_shot=[]"], "evaluate.k_shot: got [], allowed: ascending"),
        (
            ["stages=[train,k_shot]", "split=loo", "online=off"],
            "k_shot asks who is new after T_test, which split=loo",
        ),
        (
            ["stages=[train,k_shot]", "split=time_at_once", "online=off"],
            "k_shot asks who is new after T_test, which split=time_at_once",
        ),
        (
            ["stages=[train,k_shot]", "dataset=news/mind", "evaluate.candidates=impression"],
            "k_shot ranks the catalogue, but evaluate.candidates=impression",
        ),
        (
            ["dataset=news/mind", "evaluate.candidates=impression", "split.simulated_cold=0.1"],
            "the lists show what split.simulated_cold=0.1 would hide",
        ),
    ],
)
def test_newcomers_are_revealed_and_held_out_where_there_can_be_any(
    line: list[str], said: str
) -> None:
    (problem,) = problems(compose_plain("backbone=tiny_bert", *line))
    assert said in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["evaluate.k_shot=[0,-1]"], "evaluate.k_shot[1]: got -1, allowed: an integer from 0"),
        (
            ["split.simulated_cold=1.0"],
            "split.simulated_cold: got 1.0, allowed: a number from 0 up to 0.99",
        ),
        (["split=loo", "split.simulated_cold=0.1"], "split.simulated_cold: unknown key"),
    ],
)
def test_shares_and_numbers_of_newcomers_have_bounds(line: list[str], said: str) -> None:
    assert any(
        problem.startswith(said)
        for problem in make_plan(["backbone=tiny_bert", "online=off", *line]).problems
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_wins_over_the_command_line(control: str) -> None:
    line = ["backbone=tiny_bert", "strategy=lora", "strategy.rank=2", f"control={control}"]
    assert make_plan(line).problems == []
    config = compose_plain(*line)
    replaced = config["control"]["replaces"]
    if "pretrain" in replaced:
        assert config["pretrain"]["objective"] == replaced.pop("pretrain")
    expected = {"strategy": "lora", "backbone": "tiny"} | replaced
    assert {group: config[group]["_target_"].rpartition(".")[2] for group in expected} == expected
    assert ("rank" in config["strategy"]) == ("strategy" not in replaced)


def test_a_control_that_replaces_by_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="strategy=nothing, which is no option"):
        compose_plain("control=random_vectors", "control.replaces.strategy=nothing")


def test_all_problems_come_in_one_message(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "# @package _global_\ntrain: {epoch: 3}\nhead: {context: on}\n"
    )
    found = make_plan(
        [
            "--config-dir",
            str(tmp_path),
            *TINY,
            "experiment=mine",
            "strategy=lorra",
            "lr=1",
            "a=[1",
            "seed=-1",
            "split.train=1",
        ]
    ).problems
    for expected in [
        "strategy=lorra: no such option; did you mean lora?",
        "lr: unknown key; did you mean optim.lr?",
        "a=[1: cannot be read",
        "train.epoch: unknown key; did you mean train.epochs?",
        "head.context: got true, allowed: on, off or only; YAML reads a bare on",
        "seed: got -1, allowed: an integer from 0",
        "split.train=1 and split.validation=0.1 leave nothing for the stream",
    ]:
        assert sum(problem.startswith(expected) for problem in found) == 1, (expected, found)
    assert len(found) == 7


def test_a_key_that_an_experiment_sets_and_another_option_lacks_can_be_left_out() -> None:
    line = [
        "backbone=tiny_gpt2",
        "experiment=strategies_x_backbones",
        "train.head_epochs=0",
        "head=causal_lm",
        "loss=nll",
        "strategy=lora",
    ]
    assert make_plan(line).problems == [
        "loss.draws: unknown key; draws is a key of loss=sampled_softmax, alpha_entmax, bpr, "
        "binary_cross_entropy; allowed here: nothing; ~loss.draws leaves it out"
    ]
    assert make_plan([*line, "~loss.draws"]).problems == []


def test_a_value_that_a_file_leaves_open_must_be_set(tmp_path: Path) -> None:
    folder = tmp_path / "backbone"
    folder.mkdir()
    (folder / "open.yaml").write_text("_target_: coldlm.models.backbone.tiny\nfamily: ???\n")
    line = ["--config-dir", str(tmp_path), "dataset=simulated", "backbone=open"]
    assert make_plan(line).problems == ["backbone.family: missing; it must be set"]
    assert make_plan([*line, "backbone.family=bert"]).problems == []
    assert make_plan([*line, "backbone.family=bert", "backbone.width=8"]).problems == [
        "backbone.width: unknown key; this file does not set it: write +backbone.width"
    ]


def test_a_file_that_cannot_be_composed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /strategy: lorra\n"
    )
    (folder / "torn.yaml").write_text("# @package _global_\ntrain: {epochs: 1\n")
    for experiment, part in (("mine", "strategy/lorra"), ("torn", "torn.yaml")):
        (problem,) = make_plan(["--config-dir", str(tmp_path), f"experiment={experiment}"]).problems
        assert part in problem


def test_a_sweep_is_checked_cell_by_cell() -> None:
    found = make_plan(
        ["-m", *TINY, "strategy=frozen,top,lora", "backbone=tiny_bert,random_vectors", "seed=1,2"]
    ).problems
    assert [problem.split(";")[0] for problem in found] == [
        "strategy=top has nothing to train in backbone=random_vectors",
        "strategy=lora has nothing to train in backbone=random_vectors",
    ]
    assert [problem.partition(" (in ")[2] for problem in found] == [
        "2 of 12 cells: backbone=random_vectors,strategy=top)",
        "2 of 12 cells: backbone=random_vectors,strategy=lora)",
    ]


def test_a_sweep_file_sweeps_without_a_flag_and_is_checked() -> None:
    assert make_plan([*TINY, "sweep=strategies"]).problems == []
    assert "strategy=lora" in " ".join(
        make_plan(["dataset=simulated", "backbone=random_vectors", "sweep=strategies"]).problems
    )


def test_several_values_need_the_flag() -> None:
    assert make_plan([*TINY, "seed=1,2"]).problems == [
        "seed=1,2: several values are a sweep; add -m"
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["split.train=0.8", "split.validation=0.2"], "their sum must be below 1"),
        (
            ["split.windows=null"],
            "got nothing for the windows, allowed: split.windows or split.window_days or spl",
        ),
        (
            ["split.window_days=7"],
            "got split.windows=5, split.window_days=7 for the windows, allowed",
        ),
        (
            ["split.t_val=2016-01-01"],
            "got split.train=0.7, split.validation=0.1, split.t_val=2016-01-01 for the cuts",
        ),
        (
            [*NO_SHARES, "split.t_val=2016-01-01"],
            "allowed: split.train and split.validation or split.t_val and split",
        ),
        (
            [*NO_SHARES, "split.t_val=2016-01-02", "split.t_test=2016-01-02"],
            "split.t_test=2016-01-02 must be later",
        ),
        (
            [*NO_SHARES, "split.t_val=2016-01-02", "split.t_test=soon"],
            "split.t_test: got 'soon', allowed: an ISO date",
        ),
        (
            ["split.windows=null", "split.edges=[2016-01-02,2016-01-01T07:00:00]"],
            "split.edges[1]=2016-01-01T07:00:00 m",
        ),
        (["split=loo"], "online/trigger=every_window; use online=off, or split=time"),
        (["split=time_at_once"], "asks everybody at once, so that nothing is left to be learned"),
        (["split=time_at_once", "online=off", "split.t_val=2024-01-01"], "for the cuts, allowed"),
        (
            ["split=random", "online=every_n"],
            "online/trigger=every_n; use online=off, or split=time",
        ),
        (["split=random", "online=off", "split.train=0.9"], "their sum must be below 1"),
        (["strategy=top", "strategy.layers=3"], "the backbone has 2 layers"),
        (["strategy=lora", "strategy.layers=3"], "the backbone has 2 layers"),
        (["strategy=prefix", "strategy.layers=3"], "the backbone has 2 layers"),
        (
            ["strategy=adalora", "strategy.tinit=0.5", "strategy.tfinal=0.5"],
            "their sum must be below 1",
        ),
        (
            ["strategy=full", "backbone=random_vectors"],
            "nothing to train in backbone=random_vectors",
        ),
        (["strategy=full", "head.context=only"], "head.context=only never reads"),
        (["strategy=top", "head=zero_shot"], "head=zero_shot trains nothing"),
        (["head=pair"], "head=pair is a classifier, but loss=sampled_softmax"),
        ([*PAIR, "backbone=random_vectors"], "backbone=random_vectors has none to read"),
        ([*PAIR, "train.head_epochs=1"], "head=pair keeps no vectors"),
        (["head=zero_shot", "backbone.pooling=attention"], "but head=zero_shot trains nothing"),
        ([*SPEAKS, "backbone.pooling=attention"], "but head=causal_lm pools nothing"),
        (["loss=nll"], "loss=nll needs scores that are log-probabilities"),
        ([*SPEAKS, "loss=sampled_softmax"], "use loss=nll"),
        ([*SPEAKS, "head.context=on"], "its scores are no log-probabilities, but loss=nll"),
        (
            ["train.validate=false", "train.refit=false"],
            "train.validate=false trains once, on train + validation, but train.refit=false leaves "
            "that out",
        ),
        ([*SPEAKS, "backbone=tiny_bert"], "head=causal_lm needs a decoder, got bert"),
        (
            [*SPEAKS, "head.prompt='{history}'"],
            "head.prompt: got {history}, allowed: {history} and {query}",
        ),
        ([*SPEAKS, "head.prompt='{history} {query} {title}'"], "got {history}, {query}, {title}"),
        ([*SPEAKS, "head.prompt='{history} {query'"], "head.prompt: expected '}'"),
        (["stages=[]"], "at least one of train, evaluate, online"),
        (["stages=[train,train]"], "each stage runs once"),
        (["trainer.precision=16-mixed"], "needs trainer.accelerator=gpu"),
        (["trainer.devices=3"], "cannot be shared evenly"),
        (["backbone=tiny_gpt2", "backbone.pooling=cls"], "use last or mean"),
        (["backbone.width=33"], "must be a multiple of backbone.heads=2"),
        (["stages=[train,pretrain]"], "pretrain comes first"),
        (["pretrain=contrastive"], "nothing to learn with in backbone=tiny; use a checkpoint"),
        (["backbone=scratch_bert"], "has no weights before stage pretrain"),
        (
            ["backbone=scratch_bert", "backbone.width=33", "pretrain=masked_lm"],
            "must be a multiple of backbone.heads=4",
        ),
        (
            ["backbone=scratch_bert", "pretrain=causal_lm"],
            "learns by pretrain=masked_lm, contrastive or item_to_item",
        ),
        (
            ["backbone=scratch_gpt2", "pretrain=masked_lm"],
            "learns by pretrain=causal_lm, contrastive or item_to_item",
        ),
        (
            ["backbone=scratch_bert", "pretrain=masked_lm", "pretrain.mask_share=null"],
            "set it with pretrain=masked_lm",
        ),
        (
            ["backbone=scratch_bert", "pretrain=masked_lm", "pretrain.temperature=1"],
            "set it with pretrain=contrastive",
        ),
        (
            ["backbone=scratch_bert", "pretrain=contrastive", "backbone.pooling=attention"],
            "would lose it",
        ),
        (
            ["backbone=scratch_bert", "pretrain=item_to_item", "backbone.pooling=attention"],
            "pretrain=item_to_item would lose it",
        ),
        (
            ["backbone=scratch_bert", "pretrain=contrastive", "pretrain.items=9"],
            "set it with pretrain=item_to_item",
        ),
        (
            ["backbone=scratch_bert", "pretrain=masked_lm", "trainer.devices=2"],
            "runs in one process, but trainer.devices=2",
        ),
        (
            ["head.user=transformer", "head.width=15"],
            "head.width=15 must be a multiple of head.user_heads=2",
        ),
        (["head.fusion=gate", "head.context=off"], "use head.context=on, or fusion=add"),
        (
            ["head.context_dropout=0.2", "head.context=off"],
            "use head.context=on, or context_dropout=0",
        ),
        (
            ["trainer.gradient_checkpointing=true"],
            "acts on layers that train, but strategy=frozen trains none",
        ),
        (
            ["trainer.graph_tokens=512"],
            "trainer.graph_tokens=512 acts on layers that train, but strategy=frozen trains none",
        ),
        (["trainer.compile=true"], "trainer.compile=true acts on layers that train"),
        (
            ["loss.negatives=given"],
            "learns from lists as shown, but evaluate.candidates=full; use evaluate.cand",
        ),
        (["control=context_only", "head.context=off"], "leave it to the control"),
    ],
)
def test_impossible_combinations_are_refused(overrides: list[str], message: str) -> None:
    (problem,) = problems(compose_plain(*TINY, *overrides))
    assert message in problem


@pytest.mark.parametrize("strategy", ["adapter", "prefix", "prompt", "ia3"])
def test_a_strategy_for_three_families_is_refused_for_others_before_anything_is_loaded(
    strategy: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "distilbert", "n_layers": 2, "vocab_size": 9})
    )
    other = ["dataset=simulated", "backbone=local", f"backbone.path={tmp_path}"]
    assert problems(compose_plain(*other, "strategy=lora")) == []
    (problem,) = problems(compose_plain(*other, f"strategy={strategy}"))
    assert problem.startswith(
        f"strategy={strategy} is made for BERT, RoBERTa and GPT-2, and backbone 'local' is another"
    )


def test_missing_files_are_named_with_the_ways_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("COLDLM_ALLOW_DOWNLOAD", raising=False)
    found = file_problems(compose_plain("backbone=bert_base", "dataset=own"))
    assert any("hf download bert-base-uncased --revision" in problem for problem in found)
    assert any(problem.startswith("dataset.items") for problem in found)
    (problem,) = file_problems(
        compose_plain("dataset=simulated", "backbone=local", f"backbone.path={tmp_path}")
    )
    assert "lacks config.json, a tokenizer, *.safetensors" in problem
    assert file_problems(compose_plain(*TINY)) == []


def test_a_checkpoint_with_another_hash_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    assert checkpoints.problems(name="toy", path=str(tmp_path)) == []
    (problem,) = checkpoints.problems(name="toy", path=str(tmp_path), sha256="0" * 64)
    assert "expected 0000" in problem


def test_a_checkpoint_is_found_in_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--org--toy" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert checkpoints.locate(hub="org/toy", revision="abc") == snapshot
    assert checkpoints.locate(hub="org/toy", revision="other") is None


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        (
            {"model_type": "t5", "is_encoder_decoder": True},
            [],
            "backbone: a 't5' model is an encoder-decoder",
        ),
        ({"model_type": "vit"}, [], "backbone: a 'vit' model reads no text"),
        (
            {"model_type": "gpt2", "vocab_size": 9, "n_layer": 2},
            ["backbone.pooling=cls"],
            "use last or mean",
        ),
        (
            {"model_type": "bert", "vocab_size": 9, "num_hidden_layers": 2},
            ["backbone.keep_layers=3"],
            "has 2 layers",
        ),
        (
            {"model_type": "bert", "vocab_size": 9, "num_hidden_layers": 2},
            ["backbone.keep_layers=[2]"],
            "has 2 layers",
        ),
        (
            {"model_type": "distilbert", "vocab_size": 9, "n_layers": 6},
            ["backbone.keep_layers=[0,5]", "strategy=top", "strategy.layers=3"],
            "the backbone has 2 layers; choose 1 to 2",
        ),
        (
            {
                "model_type": "albert",
                "vocab_size": 9,
                "num_hidden_layers": 12,
                "num_hidden_groups": 1,
            },
            ["strategy=top"],
            "layers share their weights, so none can train alone",
        ),
    ],
)
def test_what_config_json_says_is_enough_to_refuse(
    config: dict[str, object], overrides: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    line = ["dataset=simulated", "backbone=local", f"backbone.path={tmp_path}", *overrides]
    (problem,) = problems(compose_plain(*line))
    assert message in problem


def test_a_run_without_training_needs_a_trained_run(tmp_path: Path) -> None:
    config = compose_plain(*TINY, "stages=[evaluate]")
    check(config, tmp_path)
    with pytest.raises(ConfigError, match="no trained run"):
        check(config, tmp_path / "nothing")


@pytest.mark.parametrize("part", ["control", "backbone", "train", "stages", "seed"])
@pytest.mark.parametrize("value", [None, "x", 3, [{}], {"_target_": 3}, "???"])
def test_nonsense_is_a_problem_and_no_crash(part: str, value: object) -> None:
    if (part, value) != ("seed", 3):
        found = problems(compose_plain(*TINY) | {part: value})
        assert found
        assert all(problem.startswith(part) for problem in found)


def test_a_gpu_that_is_not_there_is_said_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert make_plan([*TINY, "trainer=gpu"]).problems == [
        "trainer.accelerator=gpu: no CUDA device is there; use trainer=cpu"
    ]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert make_plan([*TINY, "trainer=gpu", "trainer.devices=2"]).problems == [
        "trainer.devices=2: 1 CUDA devices are there"
    ]


def test_several_loggers_are_each_a_node_of_its_own() -> None:
    config = compose_plain(*TINY, "logger=[wandb,mlflow]", "logger.wandb.mode=offline")
    assert not problems(config)
    checked = typed(config)
    assert list(checked.logger.loggers) == ["wandb", "mlflow"]
    assert checked.logger.loggers["wandb"]["mode"] == "offline"
    assert checked.plain()["logger"] == config["logger"]
    wrong = {
        **config["logger"],
        "wandb": config["logger"]["wandb"] | {"mode": "on"},
        "mlflow": config["logger"]["mlflow"] | {"uri": "x"},
        "tensorboard": {"_target_": "coldlm.models.towers.Towers"},
        "neptune": {"_target_": "neptune.init"},
    }
    found = "\n".join(problems(config | {"logger": wrong}))
    for told in (
        "logger.wandb.mode: got 'on'",
        "logger.mlflow.uri: unknown key",
        "logger.tensorboard._target_: got 'coldlm.models.towers.Towers'",
        "logger.neptune: unknown key",
    ):
        assert told in found


def test_help_and_completion_know_the_keys_of_each_logger() -> None:
    said = explain(["logger=[wandb,mlflow]"])
    for line in (
        "logger.wandb.mode: auto",
        "logger.mlflow.tracking_uri: null",
        "logger.group: null",
    ):
        assert f"\n{line}\n" in said
    assert "logger.mlflow" not in explain(["logger=wandb"])
    assert "\n  files:  # metrics.csv" in explain([])
    assert "logger.mlflow.experiment=" in complete(["logger=[wandb,mlflow]"], "logger.mlflow.")
    assert complete(["logger=wandb"], "logger.mlflow.") == []
    assert "logger.log_model=" in complete([], "logger.")


def test_the_logger_of_an_earlier_version_is_one_of_several_now() -> None:
    config = compose_plain(*TINY, "logger=wandb", "logger.group=g")
    old = {"_target_": "coldlm.learn.loggers.wandb", "mode": "auto", "project": "coldlm"}
    old |= {"entity": None, "group": "g", "job_type": None, "tags": []}
    assert under_todays_keys(config | {"logger": old})["logger"] == config["logger"]


def test_wandb_online_needs_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = compose_plain(*TINY, "logger=wandb", "logger.wandb.mode=online")
    assert any("logger.wandb.mode=online: no key" in problem for problem in file_problems(config))
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert not any("no key" in problem for problem in file_problems(config))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "coldlm.data.files.raw.hash_files",
        "coldlm.models.strategy._require",
        "coldlm.data.files.raw.os.load",
    ],
)
def test_what_is_not_on_the_allow_list_is_refused_before_it_is_imported(target: str) -> None:
    config = compose_plain(*TINY)
    config["dataset"] = {"_target_": target}
    (problem,) = problems(config)
    assert problem.startswith(f"dataset._target_: got {target!r}")
    with pytest.raises(ConfigError, match="nothing else is imported"):
        build({"_target_": target})


def test_a_group_takes_only_its_own_targets() -> None:
    assert is_allowed("coldlm.models.strategy.lora", "strategy")
    assert not is_allowed("coldlm.models.strategy.lora", "backbone")
    assert not is_allowed(None, "backbone")


def test_an_unlisted_module_is_never_imported(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from coldlm.config.build import build
from coldlm.config.check import problems
from coldlm.core.errors import ConfigError
try: build({{"_target_": "trap.load"}})
except ConfigError: print("refused")
problems({{"dataset": {{"_target_": "trap.load"}}}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_build_calls_the_target_with_plain_values() -> None:
    node = {"_target_": "coldlm.models.losses.BinaryCrossEntropy", "draws": 3}
    assert build(node).draws == 3
    with pytest.raises(ConfigError, match="_partial_"):
        build({**node, "_partial_": True})


def test_checking_a_command_line_is_fast_and_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "pytorch_lightning", "peft", "wandb", "tensorboard"}
    code = f"""
import json, sys
from coldlm.config.compose import make_plan
make_plan({["-m", "strategy=frozen,top,lora", "seed=1,2"]!r})
print(json.dumps(sorted({heavy!r} & sys.modules.keys())))
"""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert time.perf_counter() - start < 6  # about 1.5 s on two idle cores


@pytest.mark.parametrize(
    ("value", "annotation", "is_right"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        (float("nan"), float, False),
        ("1", float, False),
        (None, int | None, True),
        (None, int, False),
        ("a", Literal["a", "b"], True),
        (True, Literal["on"], False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        ([0.9, 0.999], tuple[float, float], True),
        ([0.9], tuple[float, float], False),
        (0, Annotated[int, Range(0, 1)], True),
        (0, Annotated[float, Range(0, above=True)], False),
        (2, Annotated[float, Range(0, 1)], False),
        (None, Annotated[float | None, Range(0, 1)], True),
        ("x", bool, False),
    ],
)
def test_values_are_compared_with_their_type(
    value: object, annotation: Any, is_right: bool
) -> None:
    assert (check_value("a.b", value, annotation) is None) == is_right


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (0, Annotated[int, Range(1)] | None, "a.b: got 0, allowed: an integer from 1 or null"),
        (
            "None",
            int | None,
            "a.b: got 'None', allowed: an integer or null; write null, without quotes",
        ),
        (
            "meen",
            Literal["mean", "cls"],
            "a.b: got 'meen', allowed: mean or cls; did you mean mean?",
        ),
        ([1, -1], list[Annotated[int, Range(0)]], "a.b[1]: got -1, allowed: an integer from 0"),
    ],
)
def test_messages_say_what_was_got_and_what_is_allowed(
    value: object, annotation: Any, message: str
) -> None:
    assert check_value("a.b", value, annotation) == message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["train.learning_rate=1e-4"], "did you mean optim.lr (of the head) or optim.body_lr"),
        (["optim.scheduler=cosine"], "did you mean train.schedule?"),
        (["trainer.schedule=cosine"], "did you mean train.schedule?"),
        (["head.lr=1"], "did you mean optim.lr?"),
        (["head.widht=8"], "did you mean head.width?"),
        (["loss.uniform=8"], "it is loss.draws now"),
        (
            ["strategy=adapter", "strategy.rank=4"],
            "strategy=adapter takes variant, bottleneck, activation, layers, match_params; rank is "
            "a key of strategy=lora, adalora",
        ),
        (["strategy.layer=1"], "layers is a key of strategy=top, adapter, "),
        (["head.nothing_like_it=1"], "head=towers takes width, "),
        (["nothing_like_it=1"], "coldlm run --help lists all keys"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_an_unknown_key_says_what_was_probably_meant(line: list[str], said: str) -> None:
    (problem,) = make_plan([*TINY, *line]).problems
    assert problem.startswith(f"{line[-1].partition('=')[0]}: unknown key; {said}")


def test_an_unknown_key_of_a_file_says_whose_it_is_and_how_to_leave_it_out() -> None:
    config = compose_plain(*TINY, "strategy=ia3")
    config["strategy"]["rank"] = 4
    assert problems(config) == [
        "strategy.rank: unknown key; rank is a key of strategy=lora, adalora; allowed here: "
        "layers; ~strategy.rank leaves it out"
    ]


@pytest.mark.parametrize("key", [*MOVED, *GONE])
@pytest.mark.parametrize("sign", ["", "+"])
def test_a_key_of_an_earlier_version_says_what_it_is_now(key: str, sign: str) -> None:
    (problem,) = make_plan([*TINY, f"{sign}{key}=true"]).problems
    assert problem.startswith(f"{key}: unknown key; ")
    assert (f"it is {MOVED[key]} now" if key in MOVED else GONE[key]) in problem


def test_a_configuration_of_an_earlier_version_is_read_under_todays_keys() -> None:
    now = compose_plain(*TINY, "control=permuted_text", "release_slot=day")
    old = {key: dict(value) if isinstance(value, dict) else value for key, value in now.items()}
    del old["plugins"]
    old["dataset"] |= {"permute_text": True, "release_slot": old.pop("release_slot")}
    old["split"]["refit"], old["optim"]["schedule"] = (
        old["train"].pop(key) for key in ("refit", "schedule")
    )
    assert under_todays_keys(old) == now


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        ("off", ("triggers.Off", "data.NewOnly", "scopes.everything")),
        ("per_window", ("triggers.EveryWindow", "data.NewOnly", "scopes.everything")),
        ("retrain", ("triggers.EveryWindow", "data.Cumulative", "scopes.reset_to_base")),
    ],
)
def test_a_schedule_of_an_earlier_version_is_read_as_its_parts(
    schedule: str, parts: tuple[str, ...]
) -> None:
    """As it ran then: with no probe, labels at once, updates at once."""
    now = compose_plain(*TINY, f"online={schedule}", "online.probe=0", "online.lr_factor=0.25")
    old = now | {"online": {"schedule": schedule, "lr_factor": 0.25}}
    old["online"]["epochs"] = now["online"]["epochs"]
    read = under_todays_keys(old)
    assert read == now
    targets = (read["online"][part]["_target_"] for part in ("trigger", "data", "scope"))
    assert tuple(targets) == tuple(f"coldlm.online.{part}" for part in parts)
    assert problems(read) == []
    assert label_of(typed(read).online.parts) == schedule


LORA, UPDATES_HEAD = ["strategy=lora"], ["online/scope=head"]
WAITS = [*LORA, "strategy.stream_adapters=1"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["online=peso"], "strategy=frozen trains nothing; use online/regulariser=l2_to_previous"),
        ([*LORA, "online=peso", *UPDATES_HEAD], "which online/scope=head leaves alone"),
        (["online/scope=adapter"], "strategy=frozen trains nothing of the language model"),
        ([*LORA, "online=lsat"], "use strategy=lora strategy.stream_adapters=1"),
        (["online=adapter_per_update"], "use strategy=lora strategy.stream_adapters=1"),
        ([*WAITS, "online=replay"], "online/scope=everything never trains them"),
        ([*WAITS, "online=lsat", "strategy.use_dora=true"], "use one of the two"),
        ([*WAITS, "online=lsat", "online.optimiser=keep"], "begins anew"),
        ([*WAITS, "online=adapter_per_update", "online.optimiser=keep"], "begins anew"),
        (
            [*WAITS, "online=adapter_per_update", "online/regulariser=ewc"],
            "moves an adapter that was never trained",
        ),
        (["online/scope=context", "head.context=off"], "needs head.context=on, got off"),
        ([*UPDATES_HEAD, "head=zero_shot"], "head=zero_shot has nothing to learn; use online=hist"),
        (["online/regulariser=der"], "online/data=new_only does not bring back; use online/data=rep"),
        (["online=retrain", "online/regulariser=ewc"], "which online/scope=reset_to_base does not"),
        (["online=retrain", "online.optimiser=keep"], "begins anew; use online.optimiser=reset"),
        (["online/gate=probe", "online.probe=0"], "which online.probe=0 leaves empty"),
        (["online=replay", "online.data.keep=herding", "head.context=only"], "keep=herding looks"),
        (
            ["online=replay", "online.data.keep=herding", "head=pair", "loss=binary_cross_entropy"],
            "which head=pair does not make here; use another of online.data.keep",
        ),
        (["online=oracle", "online/trigger=every_n"], "online/trigger=every_window alone, got eve"),
        (["online.data.keep=recency"], "online.data.keep: unknown key"),
        (["online=replay", "online.data.keep=best"], "online.data.keep: got 'best', allowed: rese"),
        (["online=every_n", "online.trigger.n=0"], "online.trigger.n: got 0, allowed: an integer"),
        (["online.label_delay_seconds=-1"], "online.label_delay_seconds: got -1, allowed"),
        (["online.probe=0.9"], "online.probe: got 0.9, allowed: a number from 0 up to 0.5"),
        (["online/triger=never"], "online/triger"),
        (["online/trigger=evry_n"], "online/trigger=evry_n: no such option; did you mean every_n?"),
    ],
)  # fmt: skip
def test_parts_that_cannot_stand_together_are_refused(overrides: list[str], said: str) -> None:
    (problem,) = make_plan([*TINY, *overrides]).problems
    assert said in problem


def test_parts_that_never_act_are_not_refused() -> None:
    """Where nothing updates, nothing of an update can be wrong."""
    assert make_plan([*TINY, "online=history", "online/scope=adapter"]).problems == []
    assert make_plan([*TINY, "online=peso", *LORA, "control=random_vectors"]).problems == []
    assert make_plan([*TINY, "online=lsat", *WAITS, "control=random_vectors"]).problems == []
    assert make_plan([*TINY, "online=history", *WAITS]).problems == []


def test_a_control_that_keeps_the_strategy_is_refused_what_the_strategy_is() -> None:
    (problem,) = make_plan([*TINY, *LORA, "online=lsat", "control=permuted_text"]).problems
    assert "use strategy=lora strategy.stream_adapters=1" in problem


def test_a_lora_of_an_earlier_version_had_no_adapters_that_wait() -> None:
    old = compose_plain(*TINY, *LORA)
    del old["strategy"]["stream_adapters"]
    assert under_todays_keys(old) == compose_plain(*TINY, *LORA)


def test_a_detector_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert make_plan([*TINY, "online=on_drift"]).problems == []
    monkeypatch.setattr(online_combinations, "find_spec", lambda package: None)
    (problem,) = make_plan([*TINY, "online=on_drift"]).problems
    assert problem.endswith('the package river is not installed; pip install "coldlm[drift]"')


def test_a_sweep_over_a_part_is_one_cell_each() -> None:
    plan = make_plan(["-m", *TINY, "online/trigger=every_n,every_window", "online.lr_factor=1,2"])
    assert plan.problems == []


def test_what_is_asked_of_scores_since_has_values_in_an_older_configuration() -> None:
    values = compose_plain()
    old = {**values, "evaluate": dict(values["evaluate"])}
    for key in ("shelf", "rivals", "lists"):
        del old["evaluate"][key]
    del old["published"]
    assert under_todays_keys(old) == {**values, "evaluate": {**values["evaluate"], "lists": 0}}


def test_published_values_are_read_before_anything_runs() -> None:
    line = "published.values=['bpr ndcg@10 .2 .1','popularity ndcg@7 .2 .1','popularity ndcg .2']"
    found = problems(compose_plain(line))
    assert [text.split(": ", 1)[1][:40] for text in found] == [
        "'bpr ndcg@10 .2 .1' is of bpr, which is ",
        "'popularity ndcg@7 .2 .1' is cut at 7; s",
        "got 'popularity ndcg .2', allowed: 'SCOR",
    ]
    assert not problems(
        compose_plain("published.values=['bm25 ndcg@10 .2 .1']", "evaluate.rivals=[bm25]")
    )


def test_where_data_is_missing_what_was_found_there_is_said(tmp_path: Path) -> None:
    values = compose_plain(
        "dataset=news/caixin", f"dataset.root={tmp_path}", "published.source='A. Author 2020'",
        "published.values=['popularity ndcg@10 .2 .1']",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"Author 2020 found there: popularity ndcg@10 \.2 \.1"):
        check(values)


def test_a_rival_may_have_one_value_of_its_setting() -> None:
    assert not problems(compose_plain("evaluate.rivals=['ease:300',ease]"))
    (found,) = problems(compose_plain("evaluate.rivals=['ease:many']"))
    assert "got 'ease:many'; behind the colon stands a number" in found
    (found,) = problems(compose_plain("evaluate.rivals=['ease:3@daily']"))
    assert "behind @ per_window" in found
    assert not problems(compose_plain("evaluate.rivals=['ease:3@per_window']"))
    (found,) = problems(compose_plain("evaluate.rivals=['ease@per_window']", "train.refit=false"))
    assert "use train.refit=true, or 'ease'" in found
    (found,) = problems(compose_plain("evaluate.rivals=['eas:3']"))
    assert "got 'eas:3', allowed: popularity_days" in found


def test_an_origin_is_one_of_them() -> None:
    (found,) = problems(compose_plain("split.origins=2", "split.origin=3"))
    assert found == "split.origin=3: there are split.origins=2; allowed: 1 to 2"
