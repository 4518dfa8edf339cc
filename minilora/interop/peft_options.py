"""What PEFT's configs say, option by option: none is passed over that would change what the model computes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minilora.adapters.adapter import InstalledAdapter
from minilora.interop.tensors import LazyTensor
from minilora.nn import Llama

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Settings = Mapping[str, Any]
Tensors = Mapping[str, LazyTensor]

# Options that change nothing here, whatever they say.
REMARKS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",  # read only together with megatron_config
    "peft_type",  # read before
    "peft_version",
    "qalora_group_size",  # read only together with use_qalora
    "revision",
    "runtime_config",
}
# Options that may have one value alone; null and what is missing stand for it.
FIXED = {"task_type": "CAUSAL_LM", "bias": "none", "num_transformer_submodules": 1}


class Translation(NamedTuple):
    """A method of PEFT's and ours. `read(model, settings, tensors)` -> (our config, arrays by our names), ValueError for
    what cannot be said here; `write(model, adapter)` -> (settings, arrays by PEFT's names)."""

    peft_type: str
    method: str
    read: Callable[[Llama, Settings, Tensors], tuple[Any, dict[str, np.ndarray]]]
    write: Callable[[Llama, InstalledAdapter], tuple[dict[str, Any], dict[str, np.ndarray]]]


def refuse_unknown(settings: Settings, understood: set[str]) -> None:
    """ValueError that names the first option which is neither understood nor switched off."""
    for name, value in settings.items():
        if name in REMARKS or name in understood or value in (None, False, "", [], {}):
            continue
        if name not in FIXED:
            raise ValueError(f"the option {name} of {CONFIG} is not built here, got {value!r:.80}")
        if value != FIXED[name]:
            raise ValueError(f"{name} of {CONFIG} must be {FIXED[name]!r}, got {value!r:.80}; no other is built here")
