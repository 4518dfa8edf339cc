"""Exercises of 06_qlora: masking, what is decoded at once, the order of steps, and merging into four bits."""

import numpy as np

from minilora.course.exercises.exercise import Exercise
from minilora.quant import quantize


def _records(rng: np.random.Generator) -> list[tuple]:
    """(ids, first_counted): short and longer prompts before a target of a few tokens."""
    return [(rng.integers(1, 99, n), first) for n, first in ((9, 5), (14, 4), (7, 6))]


def _weights(rng: np.random.Generator) -> list[tuple]:
    """(original, decoded, update, quantized): small updates of weights in NF4."""

    def quantized(w):
        return quantize(w).dequantize()

    originals = rng.standard_normal((2, 16, 12))
    return [
        (w, quantized(w), size * rng.standard_normal((16, 12)), quantized)
        for w, size in zip(originals, (0.02, 0.06), strict=True)
    ]


EXERCISES = (
    Exercise(
        name="masked_labels",
        title="what the loss counts",
        question="""
`ids` is one record: the prompt, and from place `first_counted` on the target. `labels[t]` is the token that the model has to say
after `ids[t]`. Write one line that leaves only the target's tokens counted; what must not count is -100.""",
        code='''
            def masked_labels(ids, first_counted):
                """ids: (n,)   ->   labels (n - 1,), one for each token but the last"""
                labels = ids[1:].copy()
                ____
                return labels
        ''',
        solution="labels[: first_counted - 1] = -100",
        mistakes={
            "labels[:first_counted] = -100": (
                "one too many: labels are shifted by one, so the target's first token is the label at first_counted - 1."
            ),
            "labels[: first_counted - 2] = -100": "one too few: the prompt's last token would be learned as an answer.",
            "labels[first_counted - 1 :] = -100": "the other side: that hides the target and learns the prompt.",
            "labels[: first_counted - 1] = 0": "0 is a token like any other, and it would be learned.",
            "labels[:] = -100": "nothing is left that counts, so there is nothing to learn.",
            "labels = ids[1:][first_counted - 1 :]": "labels keep one place for each input: mask the prompt, do not cut it off.",
            "labels = ids.copy(); labels[:first_counted] = -100": (
                "these labels are not shifted: each token would be asked to say itself. (Hugging Face shifts inside the model, here "
                "the batcher does.)"
            ),
        },
        cases=_records,
        learned="The prompt is read and never graded: its gradient is exactly zero at those places.",
    ),
    Exercise(
        name="decoded_at_once",
        title="what is decoded at one moment",
        question="""
A QLoRA model has linear layers of these `shapes`, each an (out, in) pair, in four bits, and computes in 32 bits. How many bytes of
*decoded* weights does a training step hold at the same moment, at most?""",
        code='''
            def decoded_at_once(shapes):
                """[(out, in), ...] -> bytes"""
                return ____
        ''',
        solution="4 * max(out * n for out, n in shapes)",
        mistakes={
            "4 * sum(out * n for out, n in shapes)": (
                "that is all layers decoded together; each copy is dropped as soon as its product is done."
            ),
            "max(out * n for out, n in shapes)": "those are values; each has 32 bits when it is decoded.",
            "2 * 4 * max(out * n for out, n in shapes)": (
                "backward decodes again, but at another time: forward's copy is long gone."
            ),
            "max(out * n for out, n in shapes) / 2": "that is the layer in four bits; the question is about its decoded copy.",
            "4 * max(out + n for out, n in shapes)": "a matrix has out times in values; out + in is LoRA's count, times r.",
            "2 * max(out * n for out, n in shapes)": "two bytes would be 16 bits; here it computes in 32.",
        },
        cases=lambda rng: [([(128, 128), (352, 128), (128, 352)],), ([(6, 4), (3, 10), (2, 2)],)],
        learned="On a 7B model the largest is 11008 x 4096: 90 MB at 16 bits, beside 3.3 GB that stay in four bits.",
    ),
    Exercise(
        name="merged_in_four_bits",
        title="a merge that ends in four bits",
        question="""
The result has to be in four bits, and as much as possible of a small update (|dW| / |W| = .02) has to survive. You have the
`original` weight in float, the `decoded` one that the adapter was trained on, the `update`, and `quantized(w)`, which gives w after
four bits and back.""",
        code='''
            def merged_in_four_bits(original, decoded, update, quantized):
                """original, decoded, update: (out, in)   ->   (out, in), values of the code alone"""
                return ____
        ''',
        solution="quantized(original + update)",
        mistakes={
            "quantized(decoded + update)": (
                "decoded weights lie exactly on the code's values, so a small update is rounded back, nearly all of it."
            ),
            "decoded + update": "exact, but in float: the sum does not lie on the code's values.",
            "original + update": "a fine merge, but in float; the result has to be in four bits.",
            "decoded + quantized(update)": "the sum of two things in four bits does not lie on the values of either.",
            "quantized(original)": "the update is missing.",
            "quantized(original + decoded + update)": "the weight is in it twice.",
        },
        cases=_weights,
        learned="Section 6 measures it; a large update does better on the weights it was trained on.",
    ),
    Exercise(
        name="steps_in_order",
        title="the steps in order",
        question="""
No formula, a prediction. With PEFT a student writes `model = get_peft_model(model, config)` first and
`prepare_model_for_kbit_training(model)` after it. What happens?

a) Nothing: the order of preparations does not matter. b) The adapter is frozen, too, and nothing trains. c) The adapter is stored in
four bits. d) The base trains as well.""",
        code="answer = ____",
        solution='"b"',
        mistakes={
            '"a"': "its first step goes through all parameters that it finds; which are there by then? (section 2)",
            '"c"': "it casts what is in 16 bits to 32; it quantizes nothing.",
            '"d"': "it freezes, and thaws nothing; and numbers in four bits have no gradient to follow.",
        },
        learned="It sets requires_grad = False on every parameter there is. First prepare, then put the adapter on.",
        understanding=True,
    ),
    Exercise(
        name="small_and_requantized",
        title="a small update, quantized again",
        question="""
No formula, a prediction. An adapter with |dW| / |W| = .01 works well beside its NF4 base. It is merged into the decoded base and the
sum is quantized to NF4 again. How does the result behave?

a) As the base with the adapter. b) Nearly as the base without it. c) As a model with random errors, far worse than either.
d) Half as well as with the adapter: each weight keeps half of its change.""",
        code="answer = ____",
        solution='"b"',
        mistakes={
            '"a"': (
                "only if weights cross to the next level of the code; how many do so for a hundredth of their size? (the slider in "
                "section 6)"
            ),
            '"c"': "rounding back to the level that a weight came from makes no error against the base at all.",
            '"d"': "a weight either moves to another level or stays: nearly all stay.",
        },
        learned="The base is what is left. Keep the sum in float, serve the adapter beside the base, or merge onto the original weights.",
        understanding=True,
    ),
)
