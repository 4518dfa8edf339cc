"""Adapters in PEFT's form: a folder with adapter_config.json and adapter_model.safetensors.

What PEFT can say is more than what is built here. Each option of its config is either understood, or known to change
nothing at the value it has, or an error that names it (see `peft_options`).
"""

import os
from pathlib import Path
from typing import Any

from minilora import checks
from minilora.adapters import METHODS, get_adapter
from minilora.adapters.adapter import InstalledAdapter
from minilora.adapters.merging import refuse_merged
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.interop.assemble import INTEGERS
from minilora.interop.jsonfile import read_json, write_json
from minilora.interop.peft_lora import read_lora, write_lora
from minilora.interop.peft_options import CONFIG, WEIGHTS, Translation
from minilora.interop.peft_virtual import read_prefix, read_prompt, write_prefix, write_prompt
from minilora.interop.safetensors import SafetensorsFile, save_safetensors
from minilora.nn import Llama

# PEFT's name of a method, ours, and how one becomes the other.
TRANSLATIONS = (
    Translation("LORA", "lora", read_lora, write_lora),
    Translation("PREFIX_TUNING", "prefix", read_prefix, write_prefix),
    Translation("PROMPT_TUNING", "prompt", read_prompt, write_prompt),
)
BINARY = "adapter_model.bin"


def load_peft_adapter(model: Llama, folder: str | os.PathLike, adapter_name: str = "default") -> Any:
    """Put an adapter that PEFT saved on `model` under `adapter_name`, and make it the active one; returns its config.

    LoRA with rsLoRA, rank and alpha patterns, targets by names, regular expression or "all-linear", exclude_modules and
    layers_to_transform; DoRA; PiSSA, raw or as PEFT converts it (path_initial_model_for_weight_conversion); OLoRA
    and CorDA as converted alone; prefix tuning and prompt tuning.
    PEFT's files do not say on which base the adapter was trained, so that is not checked.
    Raises FileNotFoundError, ImportError where safetensors is not installed, or ValueError, before anything is changed:
    for an option that is not built here, which it names, and for tensors that do not fit, listing each.
    """
    folder = Path(checks.path("folder", folder))
    checks.instance("model", model, Llama)
    check_new_adapter(model, adapter_name)
    settings = read_json(folder / CONFIG)
    by_name = {translation.peft_type: translation for translation in TRANSLATIONS}
    kind = settings.get("peft_type")
    if not isinstance(kind, str) or kind not in by_name:
        raise ValueError(
            f"{folder / CONFIG}: peft_type must be one of {', '.join(by_name)}, got {checks.shown(kind)}; "
            "no other is built here"
        )
    if not (folder / WEIGHTS).is_file() and (folder / BINARY).is_file():
        raise ValueError(f"{folder} holds {BINARY}, which is unpickled to be read; let PEFT save it as safetensors")
    tensors = SafetensorsFile(folder / WEIGHTS)
    if wrong := [name for name, tensor in tensors.items() if tensor.dtype in INTEGERS]:
        raise ValueError(f"{folder / WEIGHTS}: {', '.join(wrong)} must hold floats, got {tensors[wrong[0]].dtype}")
    method = METHODS[by_name[kind].method]
    try:
        config, arrays = by_name[kind].read(model, settings, tensors)
        parts = method.parts(model, config, None)
        InstalledAdapter(adapter_name, parts).load_state(arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {error}") from error
    put_on(model, adapter_name, parts, method.layer)
    return config


def save_peft_adapter(
    model: Llama, folder: str | os.PathLike, adapter_name: str = "default", *, base_model: str | None = None
) -> None:
    """Write one adapter of `model` as a folder that `PeftModel.from_pretrained(base, folder)` loads.

    `base_model`: the name or folder of the base, noted for readers. A factor from `scale_adapter` goes into alpha.
    ValueError for an unknown adapter, a merged model, and a method that PEFT does not have.
    """
    folder = Path(checks.path("folder", folder))
    if base_model is not None:
        checks.string("base_model", base_model)
    refuse_merged(model)
    adapter = get_adapter(model, adapter_name)
    for translation in TRANSLATIONS:
        if type(adapter.config) is METHODS[translation.method].config:
            settings, arrays = translation.write(model, adapter)
            break
    else:
        known = ", ".join(translation.method for translation in TRANSLATIONS)
        raise ValueError(f"adapter_name must name one of {known} for PEFT, got {adapter_name!r}: {adapter.config}")
    common = {"peft_type": translation.peft_type, "task_type": "CAUSAL_LM", "base_model_name_or_path": base_model}
    common |= {"inference_mode": True, "auto_mapping": None, "revision": None, "modules_to_save": None}
    save_safetensors(folder / WEIGHTS, arrays, {"format": "pt"})
    write_json(folder / CONFIG, dict(sorted((settings | common).items())))
