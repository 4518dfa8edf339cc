"""What training a Llama keeps in memory: weights, gradients, optimizer state and activations, by formula and counted.

The formulas need no model, so they answer for 7 billion parameters as well as for one million. The tests hold them
equal to what is counted in a model that is really built (`stored_bytes`) and trained (`saved_bytes`).
"""

import types
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora import checks
from minilora.adapters.lora import LoraConfig
from minilora.adapters.quantized import QuantizedLinear
from minilora.adapters.targets import match_targets, pattern_value
from minilora.machine import pieces
from minilora.nn import fast
from minilora.nn.config import LlamaConfig
from minilora.nn.llama import Llama
from minilora.nn.module import Module, Parameter
from minilora.quant import get_codebook, storage_bytes
from minilora.quant.affine import AFFINE
from minilora.quant.codebooks import find_codebook

HALF = (np.float16, "float16", np.dtype(np.float16))


@dataclass(frozen=True)
class Setup:
    """How a Llama is trained: all that its memory depends on.

    `lora`: its LoraConfig; None is full fine-tuning, or with `num_virtual_tokens` prefix tuning (without a projection).
    `code`: the code of its quantized linear layers ("nf4"), None where they are dense; `block_size`, `double_quant` as in
    `quantize_linears`. `checkpointing`: gradient checkpointing, where a block keeps its input alone. `dtype` may be float16,
    too: the formulas only count, and large models are held so. Raises ValueError or TypeError for settings out of range
    or that do not go together.
    """

    config: LlamaConfig
    lora: LoraConfig | None = None
    code: str | None = None
    block_size: int = 64
    double_quant: bool = False
    dtype: type | str | np.dtype = np.float32
    checkpointing: bool = False
    num_virtual_tokens: int = 0

    def __post_init__(self):
        checks.instance("config", self.config, LlamaConfig)
        if self.lora is not None:
            checks.instance("lora", self.lora, LoraConfig)
            if not has_formula(self.lora):
                raise ValueError(
                    f"lora must be A and B alone for the formulas, got {self.lora}; count a model that has it instead "
                    "(stored_bytes, saved_bytes)"
                )
        if self.code is not None and not (isinstance(self.code, str) and self.code == AFFINE):
            find_codebook(self.code, (AFFINE,))
        object.__setattr__(self, "block_size", checks.integer("block_size", self.block_size, low=1))
        object.__setattr__(self, "double_quant", checks.boolean("double_quant", self.double_quant))
        half = isinstance(self.dtype, (str, type, np.dtype)) and self.dtype in HALF
        object.__setattr__(self, "dtype", np.dtype(np.float16) if half else checks.float_dtype("dtype", self.dtype))
        object.__setattr__(self, "checkpointing", checks.boolean("checkpointing", self.checkpointing))
        tokens = checks.integer("num_virtual_tokens", self.num_virtual_tokens, low=0)
        if tokens and self.lora is not None:
            raise ValueError(f"num_virtual_tokens must be 0 beside a LoRA, got {tokens}; ask for one method at a time")
        object.__setattr__(self, "num_virtual_tokens", tokens)

    @property
    def full(self) -> bool:
        """Full fine-tuning: all that is not quantized trains."""
        return self.lora is None and not self.num_virtual_tokens

    def ranks(self) -> dict[str, int]:
        """The rank of each layer that has a LoRA, by path."""
        if self.lora is None:
            return {}
        paths = match_targets(Llama.skeleton(self.config), self.lora.target_modules)
        return {path: pattern_value(self.lora.rank_pattern, path, self.lora.r) for path in paths}


def has_formula(lora: LoraConfig) -> bool:
    """Is this LoRA A and B alone? DoRA, a start within the weight, a learned alpha and whole layers take more."""
    more = lora.use_dora or lora.trainable_alpha or lora.modules_to_save
    return not more and lora.init_lora_weights in (True, "gaussian")


def linear_shapes(config: LlamaConfig) -> dict[str, tuple[int, int]]:
    """(out, in) of every linear layer of a Llama, by path; the head too, unless it is tied to the embedding.

    TypeError for anything but a LlamaConfig.
    """
    checks.instance("config", config, LlamaConfig)
    D, F, d = config.hidden_size, config.intermediate_size, config.head_dim
    H, K = config.num_attention_heads, config.num_key_value_heads
    block = {
        "self_attn.q_proj": (H * d, D),
        "self_attn.k_proj": (K * d, D),
        "self_attn.v_proj": (K * d, D),
        "self_attn.o_proj": (D, H * d),
        "mlp.gate_proj": (F, D),
        "mlp.up_proj": (F, D),
        "mlp.down_proj": (D, F),
    }
    shapes = {f"layers.{i}.{name}": s for i in range(config.num_hidden_layers) for name, s in block.items()}
    return shapes if config.tie_word_embeddings else shapes | {"lm_head": (config.vocab_size, D)}


def weight_bytes(setup: Setup) -> int:
    """Bytes of all weights: embedding, norms, linear layers (dense, or codes and scales) and adapters.

    TypeError for anything but a Setup.
    """
    checks.instance("setup", setup, Setup)
    linears = sum(_linear_bytes(setup, path, *shape) for path, shape in linear_shapes(setup.config).items())
    return linears + setup.dtype.itemsize * (_other_parameters(setup.config) + _adapter_parameters(setup))


def trainable_parameters(setup: Setup) -> int:
    """How many parameters are trained: sum of r (in + out) with LoRA, keys and values of each layer with a prefix; in full
    fine-tuning all that are not quantized. TypeError for anything but a Setup."""
    if not checks.instance("setup", setup, Setup).full:
        return _adapter_parameters(setup)
    shapes = linear_shapes(setup.config)
    dense = sum(out * n for path, (out, n) in shapes.items() if setup.code is None or path == "lm_head")
    return dense + _other_parameters(setup.config)


def gradient_bytes(setup: Setup) -> int:
    """One number per trained parameter, in the model's dtype."""
    return trainable_parameters(setup) * setup.dtype.itemsize


def optimizer_bytes(setup: Setup) -> int:
    """Adam's two moments: two numbers per trained parameter, in the model's dtype."""
    return 2 * gradient_bytes(setup)


def activation_bytes(setup: Setup, batch_size: int, length: int) -> int:
    """Bytes that one forward of the loss keeps for its backward, for `batch_size` rows of `length` tokens.

    With gradient checkpointing: the input of every block, of long texts attention's output as well, and all of one block.
    Integers (token ids, labels) and tables that all steps share (RoPE's angles) are not counted. ValueError or TypeError
    for sizes below 1.
    """
    checks.instance("setup", setup, Setup)
    B = checks.integer("batch_size", batch_size, low=1)
    T = checks.integer("length", length, low=1, high=2**24)
    config, ranks = setup.config, setup.ranks()
    blocks = [_block_floats(setup, f"layers.{i}", ranks, B, T) for i in range(config.num_hidden_layers)]
    if setup.checkpointing:
        inputs, before = B * T * config.hidden_size, setup.num_virtual_tokens
        long = T >= fast.BLOCKS_PAY and before + T > fast.KEEP_UP_TO
        outputs = inputs + _attention_floats(config.num_attention_heads, config.head_dim, B, T, before) if long else 0
        # The last block's attention is among all that it keeps.
        blocks = [inputs * len(blocks), outputs * (len(blocks) - 1), max(blocks)]
    return setup.dtype.itemsize * (sum(blocks) + _head_floats(setup, ranks, B, T))


def _block_floats(setup, block, ranks, B, T):
    """Numbers that one block keeps. Each line stands for one op of minilora/nn/llama.py."""
    config, N = setup.config, B * T
    D, F, d = config.hidden_size, config.intermediate_size, config.head_dim
    H, K = config.num_attention_heads, config.num_key_value_heads
    norms = 2 * (N * D + N)  # x / rms(x) and 1 / rms
    before = setup.num_virtual_tokens
    attention = (
        N * d * (H + 2 * K) + 2 * B * K * before * d + _attention_floats(H, d, B, T, before)
    )  # q, k, v and so on
    mlp = 2 * N * F  # gate and up
    inputs = 0
    for names, width in (
        (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), D),  # one array, shared by the three
        (("self_attn.o_proj",), H * d),
        (("mlp.gate_proj", "mlp.up_proj"), D),
        (("mlp.down_proj",), F),
    ):
        inputs += _input_floats(setup, [f"{block}.{name}" for name in names], width, ranks, N)
    return norms + attention + mlp + inputs


def _attention_floats(H, d, B, T, before):
    """Numbers that softmax and its product with v keep: see minilora/nn/fast.py, and ops.py for the shortest texts.

    `before`: virtual tokens, which every position sees.
    """
    if T < fast.BLOCKS_PAY:
        return B * H * T * (before + T)  # the probabilities
    exponentials = sum((piece.stop - piece.start) * (before + piece.stop) for piece in pieces(T, fast.QUERIES))
    # The output, two numbers per softmax, and the exponentials of shorter texts, up to the last position of each block.
    return B * H * (T * d + 2 * T + (exponentials if before + T <= fast.KEEP_UP_TO else 0))


def _input_floats(setup, paths, width, ranks, N):
    """Numbers that linear layers with one common input keep of it: nothing where they are frozen and bare."""
    adapted = [path for path in paths if path in ranks]
    thin = sum(N * ranks[path] for path in adapted)  # h = x Aᵀ
    dense = setup.code is None and setup.lora is not None and not setup.lora.lora_dropout
    if dense and width <= N and paths != ["lm_head"]:
        thin = 0  # B A is added to the dense weight (see `project` in nn/layers.py), and h is computed in backward
    if setup.lora is not None and setup.lora.lora_dropout > 0:
        return thin + 2 * N * width * len(adapted)  # each draws a mask of its own, and keeps what is left of x
    trained = setup.full and (setup.code is None or paths == ["lm_head"])
    return thin + (N * width if adapted or trained else 0)


def _head_floats(setup, ranks, B, T):
    """The last norm and the loss: gradients of the head's input and, where it is trained, of the head, computed in the
    forward; with LoRA on the head, or virtual tokens, its input, the probabilities, their sums and the logits."""
    N, D, V = B * T, setup.config.hidden_size, setup.config.vocab_size
    if "lm_head" not in ranks and not setup.num_virtual_tokens:
        return N * D + N + N * D + (V * D if setup.full else 0)
    return N * D + N + _input_floats(setup, ["lm_head"], D, ranks, N) + 2 * N * V + N


def _linear_bytes(setup, path, out_features, in_features):
    if setup.code is None or path == "lm_head":
        return setup.dtype.itemsize * out_features * in_features
    if setup.code == AFFINE:
        return storage_bytes(out_features * in_features, block_size=setup.block_size, statistics=2)
    return storage_bytes(
        out_features * in_features,
        bits=get_codebook(setup.code).bits,
        block_size=setup.block_size,
        double_quant=setup.double_quant,
    )


def _adapter_parameters(setup):
    """r (in + out) of each LoRA, or a key and a value of each virtual token in each layer and head."""
    config, shapes = setup.config, linear_shapes(setup.config)
    prefix = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * setup.num_virtual_tokens
    return prefix + sum(r * sum(shapes[path]) for path, r in setup.ranks().items())


def _other_parameters(config):
    """Embedding and norms: V D, and D for each of two norms per block and the last one."""
    return config.vocab_size * config.hidden_size + (2 * config.num_hidden_layers + 1) * config.hidden_size


# Counted


def stored_bytes(model: Module) -> int:
    """Bytes of all weights in a model: parameters, and the codes and scales of quantized layers, each once.

    TypeError unless `model` is a Module.
    """
    checks.instance("model", model, Module)
    arrays = {id(p.value): p.value.nbytes for p in model.parameters()}
    return sum(arrays.values()) + sum(m.nbytes for _, m in model.named_modules() if isinstance(m, QuantizedLinear))


def saved_bytes(backward: Callable, model: Module) -> int:
    """Bytes of all floating-point arrays that a backward keeps alive, each buffer once: the activations of its forward.

    Walks the closures that hang on `backward`. Weights of `model` are not counted, nor read-only tables. TypeError for
    what is not a function or a Module.
    """
    checks.function("backward", backward)
    checks.instance("model", model, Module)
    weights = {id(_buffer(p.value)) for p in model.parameters()}
    seen, buffers, waiting = set(), {}, [backward]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (Parameter, Module)):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            buffer = _buffer(thing)
            if buffer.flags.writeable and np.issubdtype(buffer.dtype, np.floating) and id(buffer) not in weights:
                buffers[id(buffer)] = buffer.nbytes
        elif isinstance(thing, types.FunctionType):
            waiting += [cell.cell_contents for cell in thing.__closure__ or () if cell != types.CellType()]
        elif isinstance(thing, (list, tuple)):
            waiting += thing
        elif isinstance(thing, dict):
            waiting += thing.values()
    return sum(buffers.values())


def _buffer(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
