import json

import numpy as np
import pytest

pytest.importorskip("safetensors")

from minilora import LoraConfig, apply_lora, generate, merge_lora, quantize_linears, set_adapter
from minilora.adapters import (
    BottleneckConfig,
    PrefixConfig,
    PromptConfig,
    adapter_names,
    adapter_state,
    apply_bottleneck,
    apply_prefix,
    apply_prompt,
    get_adapter,
    lora_layers,
    scale_adapter,
)
from minilora.interop import load_peft_adapter, save_peft_adapter
from minilora.interop.peft_options import CONFIG, WEIGHTS
from minilora.interop.safetensors import SafetensorsFile, save_safetensors

IDS = np.arange(14).reshape(2, 7)
CONFIGS = {
    "q and v": {},
    "all-linear": {"target_modules": "all-linear", "lora_dropout": 0.1},
    "regular expression": {"target_modules": r"layers\.1\..*(up|down)_proj"},
    "rslora": {"target_modules": ("mlp.up_proj",), "use_rslora": True, "lora_alpha": 3.5},
    "patterns": {
        "target_modules": "all-linear",
        "rank_pattern": {"k_proj": 2, "layers.1.mlp.up_proj": 5},
        "alpha_pattern": {"up_proj": 32},
    },
    "DoRA": {"use_dora": True, "target_modules": "all-linear"},
    "learned alpha": {"trainable_alpha": True},
    "one layer": {"target_modules": ("layers.0.self_attn.q_proj",)},
}


def with_lora(model, rng, **settings):
    apply_lora(model, LoraConfig(**({"r": 4, "lora_alpha": 8} | settings)), rng=rng)
    for layer in lora_layers(model).values():
        layer.lora_B.value[...] = rng.standard_normal(layer.lora_B.shape) * 0.3
    return model


def rewrite(folder, **changes):
    settings = json.loads((folder / CONFIG).read_text(encoding="utf-8")) | changes
    (folder / CONFIG).write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("tied", [True, False])
def test_there_and_back(make_model, tmp_path, settings, tied):
    model = with_lora(make_model(tie_word_embeddings=tied), np.random.default_rng(2), **settings)
    save_peft_adapter(model, tmp_path)
    again = make_model(tie_word_embeddings=tied)
    again.load_state({path: p.value for path, p in get_base(model).items()})
    config = load_peft_adapter(again, tmp_path)
    mine, theirs = adapter_state(again), adapter_state(model)
    assert mine.keys() == {name for name in theirs if "lora_alpha" not in name}
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name])
    np.testing.assert_allclose(again(IDS)[0], model(IDS)[0], rtol=1e-12)
    assert (config.r, config.lora_dropout) == (4, settings.get("lora_dropout", 0.0))
    trainable = {path for path, p in again.named_parameters() if p.trainable}
    assert trainable == {path for path in dict(again.named_parameters()) if ".lora_" in path}


def get_base(model):
    return {path.replace(".base_layer", ""): p for path, p in model.named_parameters() if ".lora_" not in path}


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_pissa_is_written_for_the_base_as_it_was(make_model, tmp_path, rng, factor):
    model = with_lora(make_model(), rng, init_lora_weights="pissa", use_rslora=True)
    scale_adapter(model, "default", factor)
    expected, _ = model(IDS)
    save_peft_adapter(model, tmp_path)
    settings = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    assert settings["r"] == 8 and settings["init_lora_weights"] is True
    load_peft_adapter(model, tmp_path, "converted")
    np.testing.assert_allclose(model(IDS)[0], expected, rtol=1e-9, atol=1e-9)


def test_a_raw_pissa_takes_its_start_from_the_base_again(make_model, tmp_path, rng):
    model = with_lora(make_model(), rng, init_lora_weights="pissa", rank_pattern={"v_proj": 3})
    expected, _ = model(IDS)
    arrays = {}
    for path, part in get_adapter(model).parts.items():
        arrays[f"base_model.model.model.{path}.lora_A.weight"] = part.lora_A.value
        arrays[f"base_model.model.model.{path}.lora_B.weight"] = part.lora_B.value
    save_peft_adapter(model, tmp_path)
    save_safetensors(tmp_path / WEIGHTS, arrays)
    rewrite(tmp_path, init_lora_weights="pissa", r=4, lora_alpha=8, rank_pattern={"v_proj": 3}, alpha_pattern={})
    config = load_peft_adapter(model, tmp_path, "raw")
    assert config.init_lora_weights == "pissa"
    np.testing.assert_allclose(model(IDS)[0], expected, rtol=1e-9, atol=1e-9)


def test_what_peft_cannot_say_is_refused(make_model, tmp_path, rng):
    for settings, message in (
        ({"init_lora_weights": "loftq"}, "started inside the weight with LoftQConfig"),
        ({"init_lora_weights": "pissa", "use_dora": True}, "started inside the weight with DoRA"),
        ({"modules_to_save": ("norm",)}, "modules_to_save must be empty to be written for PEFT"),
    ):
        with pytest.raises(ValueError, match=message):
            save_peft_adapter(with_lora(make_model(np.float32), rng, **settings), tmp_path / "out")
    model = make_model()
    apply_bottleneck(model, BottleneckConfig(), rng=rng)
    with pytest.raises(ValueError, match="must name one of lora, prefix, prompt for PEFT, got 'default': Bottleneck"):
        save_peft_adapter(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "config",
    [PrefixConfig(num_virtual_tokens=3), PrefixConfig(num_virtual_tokens=2, prefix_projection=True), PromptConfig(4)],
)
def test_virtual_tokens_there_and_back(make_model, tmp_path, rng, config):
    model = make_model()
    bare, _ = model(IDS)
    apply = apply_prompt if isinstance(config, PromptConfig) else apply_prefix
    apply(model, config, rng=rng)
    save_peft_adapter(model, tmp_path)
    expected, _ = model(IDS)
    loaded = load_peft_adapter(model, tmp_path, "again")
    assert loaded.num_virtual_tokens == config.num_virtual_tokens
    np.testing.assert_allclose(model(IDS)[0], expected, rtol=1e-12)
    assert np.abs(expected - bare).max() > 1e-3
    rewrite(tmp_path, num_virtual_tokens=7)
    with pytest.raises(ValueError, match=r"must hold prompt_embeddings of shape \(7, "):
        load_peft_adapter(model, tmp_path, "third")
    rewrite(tmp_path, num_virtual_tokens=3, num_transformer_submodules=2)
    with pytest.raises(ValueError, match="num_transformer_submodules .* must be 1, got 2"):
        load_peft_adapter(model, tmp_path, "third")


def test_names_are_pefts(make_model, tmp_path, rng):
    save_peft_adapter(with_lora(make_model(), rng), tmp_path, base_model="some/base")
    names = set(SafetensorsFile(tmp_path / WEIGHTS))
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names and len(names) == 8
    settings = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    assert settings["target_modules"] == ["q_proj", "v_proj"] and settings["r"] == 4 and settings["lora_alpha"] == 8
    assert settings["peft_type"] == "LORA" and settings["base_model_name_or_path"] == "some/base"
    assert settings["rank_pattern"] == settings["alpha_pattern"] == {}


def test_a_second_adapter_over_four_bits(make_model, tmp_path, rng):
    model = make_model(np.float32)
    quantize_linears(model, "nf4")
    with_lora(model, rng)
    save_peft_adapter(model, tmp_path)
    before, _ = model(IDS)
    load_peft_adapter(model, tmp_path, "again")
    assert adapter_names(model) == ["again", "default"]
    np.testing.assert_array_equal(model(IDS)[0], before)
    set_adapter(model, "default")
    np.testing.assert_array_equal(model(IDS)[0], before)
    with pytest.raises(ValueError, match="adapter_name must be new"):
        load_peft_adapter(model, tmp_path, "again")
    assert generate(model, IDS, 3).shape == (2, 10)


def test_a_factor_goes_into_alpha(make_model, tmp_path, rng):
    model = with_lora(make_model(), rng)
    scale_adapter(model, "default", 0.5)
    expected, _ = model(IDS)
    save_peft_adapter(model, tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))["lora_alpha"] == 4
    load_peft_adapter(model, tmp_path, "halved")
    np.testing.assert_allclose(model(IDS)[0], expected, rtol=1e-12)
    assert get_adapter(model, "halved").factor == 1.0


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({"target_modules": ["q_proj", "v_proj"]}, [(0, "q_proj"), (0, "v_proj"), (1, "q_proj"), (1, "v_proj")]),
        ({"target_modules": r"model\.layers\.1\..*q_proj"}, [(1, "q_proj")]),
        ({"target_modules": r".*\.q_proj|.*\.v_proj", "exclude_modules": r".*\.0\..*"}, [(1, "q_proj"), (1, "v_proj")]),
        ({"target_modules": ["q_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]}, [(1, "q_proj")]),
        ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, [(1, "q_proj")]),
        ({"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "layers"}, [(0, "q_proj")]),
        ({"target_modules": ["model.layers.1.self_attn.v_proj"]}, [(1, "v_proj")]),
    ],
)
def test_each_way_of_naming_targets(make_model, tmp_path, rng, changes, layers):
    model = make_model()
    save_peft_adapter(with_lora(make_model(), rng), tmp_path)
    rewrite(tmp_path, **changes)
    tensors = {name: tensor.read() for name, tensor in SafetensorsFile(tmp_path / WEIGHTS).items()}
    kept = [f"layers.{i}.self_attn.{name}." for i, name in layers]
    kept = {name: array for name, array in tensors.items() if any(part in name for part in kept)}
    save_safetensors(tmp_path / WEIGHTS, kept)
    load_peft_adapter(model, tmp_path)
    assert list(lora_layers(model)) == [f"layers.{i}.self_attn.{name}" for i, name in layers]


def test_patterns_are_regular_expressions_for_the_end_of_a_path(make_model, tmp_path, rng):
    save_peft_adapter(with_lora(make_model(), rng), tmp_path)
    rewrite(tmp_path, rank_pattern={r"layers\.1\..*": 4, "q_proj": 4}, alpha_pattern={"[qk]_proj": 2, "q_proj": 99})
    model = make_model()
    config = load_peft_adapter(model, tmp_path)
    assert config.rank_pattern == {} and set(config.alpha_pattern.values()) == {2.0}
    scalings = {path: layer.scaling for path, layer in lora_layers(model).items()}
    assert scalings["layers.0.self_attn.q_proj"] == 0.5 and scalings["layers.0.self_attn.v_proj"] == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type must be one of LORA.*got 'IA3'"),
        ({"peft_type": None}, "peft_type must be one of"),
        ({"peft_type": [1]}, r"adapter_config.json: peft_type must be one of LORA.*got \[1\]"),
        ({"peft_type": {}}, r"adapter_config.json: peft_type must be one of LORA.*got \{\}"),
        ({"task_type": "SEQ_CLS"}, "task_type of adapter_config.json must be 'CAUSAL_LM', got 'SEQ_CLS'"),
        ({"bias": "lora_only"}, "bias of adapter_config.json must be 'none', got 'lora_only'"),
        ({"modules_to_save": ["lm_head"]}, "the option modules_to_save"),
        ({"fan_in_fan_out": True}, "the option fan_in_fan_out"),
        ({"lora_bias": True}, "the option lora_bias"),
        ({"layer_replication": [[0, 1]]}, "the option layer_replication"),
        ({"trainable_token_indices": [1]}, "the option trainable_token_indices"),
        ({"target_parameters": ["x"]}, "the option target_parameters"),
        ({"loftq_config": {"loftq_bits": 4}}, "the option loftq_config"),
        ({"use_qalora": True}, "the option use_qalora"),
        ({"an_option_of_tomorrow": 3}, "the option an_option_of_tomorrow .* is not built here, got 3"),
        ({"init_lora_weights": "olora"}, "'olora', which has changed the base.*path_initial_model"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4', which has changed the base"),
        ({"target_modules": "("}, "target_modules must be a regular expression"),
        ({"target_modules": ["x_proj"]}, "match no linear layer"),
        ({"target_modules": None}, "match no linear layer"),
        ({"target_modules": 7}, r"target_modules of adapter_config.json must be a str or a list of str, got 7 \(int\)"),
        ({"target_modules": [1]}, r"target_modules of .* a list of str, got \[1\] \(list\)"),
        ({"exclude_modules": 7}, r"exclude_modules of .* a list of str, got 7 \(int\)"),
        ({"exclude_modules": [1]}, r"exclude_modules of .* a list of str, got \[1\] \(list\)"),
        ({"layers_pattern": {"h": 1}}, r"layers_pattern of .* a list of str, got \{'h': 1\} \(dict\)"),
        ({"layers_to_transform": "x"}, r"layers_to_transform of .* an int or a list of int, got 'x' \(str\)"),
        ({"layers_to_transform": [0, True]}, r"layers_to_transform of .* list of int, got \[0, True\] \(list\)"),
        ({"layers_to_transform": 7}, r"\['q_proj', 'v_proj'\] with layers_to_transform 7 match no linear layer"),
        ({"target_modules": "a{99999999999}"}, "target_modules must be a regular expression"),
        ({"rank_pattern": {"(": 2}}, "a key of rank_pattern must be a regular expression"),
        ({"rank_pattern": [2]}, "rank_pattern must be"),
        ({"r": "8"}, "r must be an int"),
        ({"lora_alpha": 0}, "lora_alpha must be greater than 0"),
        ({"r": 3}, r"q_proj.lora_A must have the shape \(3, 24\), got \(4, 24\)"),
        ({"target_modules": ["q_proj"]}, "v_proj.lora_A is unexpected"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj"]}, "k_proj.lora_A is missing"),
    ],
)
def test_what_is_not_built_is_named_and_nothing_is_changed(make_model, tmp_path, rng, changes, message):
    save_peft_adapter(with_lora(make_model(), rng), tmp_path)
    rewrite(tmp_path, **changes)
    model = make_model()
    with pytest.raises(ValueError, match=message) as caught:
        load_peft_adapter(model, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert adapter_names(model) == [] and all(p.trainable for p in model.parameters())


def test_tensors_that_do_not_fit_are_all_listed(make_model, tmp_path, rng):
    save_peft_adapter(with_lora(make_model(), rng), tmp_path)
    tensors = {name: tensor.read() for name, tensor in SafetensorsFile(tmp_path / WEIGHTS).items()}
    first, second, third = list(tensors)[:3]
    tensors[first] = tensors[first][:2]
    tensors[third][0, 0] = np.nan
    tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = tensors.pop(second)
    save_safetensors(tmp_path / WEIGHTS, tensors)
    with pytest.raises(ValueError, match="is missing.*lora_embedding_A is unexpected.*must have the shape.*finite"):
        load_peft_adapter(make_model(), tmp_path)
    save_safetensors(tmp_path / WEIGHTS, {first: np.zeros((4, 24), np.int64)})
    with pytest.raises(ValueError, match="must hold floats, got I64"):
        load_peft_adapter(make_model(), tmp_path)


def test_weights_of_the_head_that_peft_writes_along_must_be_the_models(make_model, tmp_path, rng):
    model = with_lora(make_model(tie_word_embeddings=False), rng, target_modules=("lm_head",))
    save_peft_adapter(model, tmp_path)
    tensors = {name: tensor.read() for name, tensor in SafetensorsFile(tmp_path / WEIGHTS).items()}
    tensors["base_model.model.lm_head.base_layer.weight"] = model.lm_head.base_layer.weight.value.copy()
    save_safetensors(tmp_path / WEIGHTS, tensors)
    load_peft_adapter(model, tmp_path, "again")
    tensors["base_model.model.lm_head.base_layer.weight"][0, 0] += 1
    save_safetensors(tmp_path / WEIGHTS, tensors)
    with pytest.raises(ValueError, match="lm_head.base_layer .* belongs to another base"):
        load_peft_adapter(model, tmp_path, "third")


def test_files_that_are_missing(make_model, tmp_path, rng):
    save_peft_adapter(with_lora(make_model(), rng), tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS):
        load_peft_adapter(make_model(), tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="unpickled"):
        load_peft_adapter(make_model(), tmp_path)
    (tmp_path / CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=CONFIG):
        load_peft_adapter(make_model(), tmp_path)


def test_a_merged_model_is_refused(make_model, tmp_path, rng):
    model = with_lora(make_model(), rng)
    merge_lora(model)
    with pytest.raises(ValueError, match="merge"):
        save_peft_adapter(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
