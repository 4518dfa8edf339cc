"""LoRA on a model: the wrapped linear layer, how each part starts, and `apply_lora`."""

from collections.abc import Callable

import numpy as np

from minilora import checks
from minilora.adapters import inits
from minilora.adapters.adapter import AdapterLayer, AdapterPart, bare, plain
from minilora.adapters.lora import LoRA, LoraConfig
from minilora.adapters.partial import named, own_weights
from minilora.adapters.quantized import CalledLayer
from minilora.adapters.residual import Start
from minilora.adapters.surgery import check_new_adapter, put_on
from minilora.adapters.targets import match_targets, pattern_value
from minilora.adapters.variants import DoRA
from minilora.nn.layers import Bypass, ForDecoding, Linear, LinearFace
from minilora.nn.module import Constant, Module, Parameter, PendingConstant, PendingParameter


class LoRALinear(AdapterLayer, LinearFace):
    """A linear layer with LoRA beside it, one or several by name (see `AdapterLayer`); `LoRA.__call__` is the math.

    `base_layer` is anything linear: dense, or in four bits (then this is QLoRA). Adding raises ValueError for a name in
    use or a rank beyond the matrix's.
    """

    def add_adapter(self, name: str, config: LoraConfig, *, rng: np.random.Generator) -> None:
        """Draw A, set B to zero, and make the adapter the active one. ValueError if r exceeds the matrix."""
        checks.instance("config", config, LoraConfig)
        check_start(config, self)
        self.add(checks.string("name", name), lora_beside(self, config, checks.generator("rng", rng)))

    def backward_alone(self, x: np.ndarray, *, rng: np.random.Generator | None = None) -> Callable:
        """As in LinearFace: of a plain LoRA the base's product is spared, h = x Aᵀ is computed again."""
        part = self.acting
        if part is None:
            return self.base_layer.backward_alone(x, rng=rng)
        if type(part) is not LoRA or part.start is not None:  # these need the base's y, or act upon another base
            return self(x, rng=rng)[1]
        return part(_KnownOutput(self.base_layer), x, rng=rng)[1]

    @property
    def weight_shape(self) -> tuple[int, int]:
        return self.base_layer.weight_shape

    @property
    def dtype(self) -> np.dtype:
        return self.base_layer.dtype

    @property
    def lora_A(self) -> Parameter:
        return self._active_part().lora_A

    @property
    def lora_B(self) -> Parameter:
        return self._active_part().lora_B

    @property
    def scaling(self) -> float:
        """alpha / r, or alpha / sqrt(r), of the active adapter."""
        return self._active_part().scaling

    def delta_weight(self) -> np.ndarray:
        """By how much the active adapter changes the weight: s B A for a plain LoRA.    (out, in)"""
        return self._active_part().delta_weight(self.base_layer)

    def dense_weight(self) -> np.ndarray:
        """W + s B A, dense; W alone where no adapter acts.    (out, in)"""
        part = self.acting
        return self.base_layer.dense_weight() if part is None else part.dense_weight(self.base_layer)

    def merged(self) -> Linear:
        """A new dense, frozen layer that acts as this one does. Over a 4-bit base it is dense, too: requantizing it
        is lossy, and the caller's explicit step."""
        return Linear.from_weight(self.dense_weight().copy(), trainable=False)

    def for_decoding(self) -> tuple[ForDecoding | None, Bypass | None]:
        product, part = self.base_layer.for_decoding()[0], self.acting
        if product is None or part is None:  # beside a dense weight s B A is added to its copy
            return product, None
        return (product, ThinProducts(part)) if part.is_one_product(None) else (CalledLayer(self), None)

    def is_one_product(self, rng: np.random.Generator | None) -> bool:
        part = self.acting
        return self.base_layer.is_one_product(rng) and (part is None or part.is_one_product(rng))

    def learn(self, x: np.ndarray, dy: np.ndarray) -> None:
        if self.base_layer.learns:
            self.base_layer.learn(x, dy)
        if self.acting is not None:
            self.acting.learn(x, dy)

    def _active_part(self):
        if self.active is None:
            raise ValueError(
                f"the layer must have an active adapter, got none; set_adapter one of {sorted(self.adapters)}"
            )
        return self.adapters[self.active]


class _KnownOutput:
    """A base layer whose output nobody will look at: zeros instead of a product."""

    def __init__(self, base_layer: LinearFace):
        self.base_layer = base_layer

    def __call__(self, x, *, rng=None):
        y = np.zeros((*x.shape[:-1], self.base_layer.out_features), x.dtype)
        return y, self.base_layer.backward_alone(x, rng=rng)


class ThinProducts:
    """s x Aᵀ Bᵀ for decoding, beside a product in four bits."""

    def __init__(self, part: LoRA):
        self.A = np.ascontiguousarray(part.lora_A.value.T)  # (in, r)
        self.sB = part.lora_B.value.T * part.strength  # (r, out)
        self.nbytes = self.A.nbytes + self.sB.nbytes

    def __call__(self, x: np.ndarray, out: np.ndarray) -> None:
        np.add(out, x @ self.A @ self.sB, out=out)


def lora_beside(layer: LinearFace, config: LoraConfig, rng: np.random.Generator | None, path: str = "") -> LoRA:
    """The part for one layer: its start drawn or computed, or, without `rng`, still to be filled by a file.

    `path` decides what `rank_pattern` and `alpha_pattern` say.
    """
    r = pattern_value(config.rank_pattern, path, config.r)
    alpha = pattern_value(config.alpha_pattern, path, config.lora_alpha)
    scaling, shapes = config.scaling(r, alpha), ((r, layer.in_features), (layer.out_features, r))
    within = config.init_lora_weights in ("pissa", "loftq")  # the weight itself
    if rng is None:
        matrices = [PendingParameter(shape, layer.dtype) for shape in shapes]
        taken = [PendingConstant(shape, layer.dtype) for shape in shapes]
    else:
        pairs = _within(bare(layer).dense_weight(), r, scaling, config) if within else (_drawn(config, shapes, rng), ())
        matrices, taken = ([matrix.astype(layer.dtype) for matrix in pair] for pair in pairs)
        matrices, taken = map(Parameter, matrices), map(Constant, taken)
    start = Start(*taken, scaling, config.loftq_config) if within else None
    part = (DoRA if config.use_dora else LoRA)(config, *matrices, alpha, start)
    if config.use_dora and rng is not None:
        part.take_magnitude(bare(layer))
    return part


def check_start(config: LoraConfig, layer: LinearFace, path: str = "") -> None:
    """ValueError if `config` cannot start at this layer: a larger rank than its matrix has (it could not learn more with
    it), or a quantization of what is quantized already."""
    r, limit = pattern_value(config.rank_pattern, path, config.r), min(layer.weight_shape)
    where = plain(path) or "a layer"
    if r > limit:
        raise ValueError(
            f"r must be at most {limit} for {where} of shape {layer.weight_shape}, got {r}; lower r, "
            "or give this layer a smaller one in rank_pattern"
        )
    if config.loftq_config is not None and not isinstance(bare(layer), Linear):
        raise ValueError(
            f"init_lora_weights={config.init_lora_weights!r} with a quantization needs the float weight of {where}, got a "
            f"{type(bare(layer)).__name__}; apply it to the dense model: it quantizes the layers itself"
        )


def lora_parts(model: Module, config: LoraConfig, rng: np.random.Generator | None) -> dict[str, AdapterPart]:
    """The LoRA of each target layer by path, drawn, or to be filled without `rng`, and copies of what is trained whole
    (`modules_to_save`), which then gets no LoRA. Changes nothing."""
    layers = match_targets(model, config.target_modules)
    whole = own_weights(model, config, named(model, config.modules_to_save), copied=rng is not None)
    layers = {path: layer for path, layer in layers.items() if path not in whole}
    if not layers:
        raise ValueError(f"modules_to_save must leave a target for LoRA, got {config.modules_to_save}")
    if rng is not None:  # a combined adapter's file may hold a rank beyond the limit, and is exact
        for path, layer in layers.items():
            check_start(config, layer, path)
    return {path: lora_beside(layer, config, rng, path) for path, layer in layers.items()} | whole


def apply_lora(
    model: Module, config: LoraConfig, *, rng: np.random.Generator, adapter_name: str = "default"
) -> list[str]:
    """Freeze `model` and put LoRA beside the target layers, in place; returns their paths.

    At first the model acts as before, bit for bit, for B is zero (with "pissa" within rounding, with a quantization as
    near as it gets). Another `adapter_name` adds a second adapter to the
    same base: it becomes the active one, and the first waits, frozen, until `set_adapter(model, first)`.
    Raises ValueError for targets that match nothing, a rank larger than a matrix, "loftq" over a quantized layer, a name
    in use or a merged model, before anything is changed.
    """
    checks.instance("config", config, LoraConfig)
    checks.generator("rng", rng)
    check_new_adapter(model, adapter_name)
    return put_on(model, adapter_name, lora_parts(model, config, rng), LoRALinear)


def lora_layers(model: Module) -> dict[str, LoRALinear]:
    """Every LoRALinear by its path. TypeError unless `model` is a Module."""
    checks.instance("model", model, Module, hint="pass a Llama, or any Module with linear layers")
    return {path: module for path, module in model.named_modules() if isinstance(module, LoRALinear)}


def _drawn(config, shapes, rng):
    (r, in_features), (out_features, _) = shapes
    draw = inits.gaussian if config.init_lora_weights == "gaussian" else inits.uniform
    return draw(r, in_features, rng), np.zeros((out_features, r))


def _within(weight, r, scaling, config):
    """((A, B), what of them the base is without) for a start in the weight itself."""
    how = config.loftq_config
    if how is None:
        start = inits.pissa(weight, r, scaling)
        return start, start

    def quantized(w):
        return how.quantize(w).dequantize()

    if config.init_lora_weights == "loftq":
        return inits.loftq(weight, r, scaling, quantized, how.loftq_iter)
    start = inits.pissa_quantized(weight, r, scaling, quantized, how.loftq_iter)
    return start, start
