import numpy as np
import pytest

from minilora import Llama, generate, stream


@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_with_cache_equals_greedy_without(rng, config, batch):
    model = Llama(config, rng=rng)
    ids = rng.integers(0, 37, (batch, 4))
    with_cache = generate(model, ids, 20)
    np.testing.assert_array_equal(with_cache, generate(model, ids, 20, use_cache=False))
    np.testing.assert_array_equal(with_cache[:, :4], ids)
    assert with_cache.shape == (batch, 24)


def test_greedy_takes_the_largest_logit(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (1, 4))
    out = generate(model, ids, 3)
    logits, _ = model(out[:, :-1])
    np.testing.assert_array_equal(np.argmax(logits[0, 3:], axis=-1), out[0, 4:])


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5}, {"temperature": 1.5, "top_k": 5, "top_p": 0.9}])
def test_generate_is_the_stream_in_one_array(make_model, rng, settings):
    model, ids = make_model(), rng.integers(0, 37, (2, 4))
    steps = list(stream(model, ids, 8, rng=np.random.default_rng(1), **settings))
    assert [(step.shape, step.dtype) for step in steps] == [((2,), np.int64)] * 8
    out = generate(model, ids, 8, rng=np.random.default_rng(1), **settings)
    np.testing.assert_array_equal(out, np.column_stack([ids, *steps]))


def test_a_token_comes_as_soon_as_it_is_chosen(make_model, rng):
    model, ids = make_model(), rng.integers(0, 37, (1, 4))
    steps = stream(model, ids, 20)
    first = next(steps)
    np.testing.assert_array_equal(first, generate(model, ids, 1)[:, -1])
    first[:] = 0  # the array is the caller's
    np.testing.assert_array_equal(next(steps), generate(model, ids, 2)[:, -1])


def test_arguments_are_checked_at_the_call(make_model):
    with pytest.raises(ValueError, match="max_new_tokens"):
        stream(make_model(), np.array([[1]]), 0)  # without asking for a token


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64, np.int64])
def test_the_prompts_dtype_does_not_wrap_the_new_tokens(make_model, dtype):
    model = make_model(vocab_size=1000)
    model.embed_tokens.weight.value[:900] *= 0.01  # so that the chosen tokens are beyond every 8-bit integer
    ids = np.array([[1, 2, 3]])
    out = generate(model, ids.astype(dtype), 5)
    assert out.dtype == np.int64 and out[:, 3:].max() > 255
    np.testing.assert_array_equal(out, generate(model, ids, 5))


def test_a_finished_row_is_filled_with_eos_while_others_run(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (2, 4))
    free = generate(model, ids, 12)
    eos = int(free[0, 5])
    assert eos not in free[1, 4:8], "another seed: row 1 must run on after row 0 is done"
    out = generate(model, ids, 12, eos_token_id=eos)
    end = 4 + list(free[0, 4:]).index(eos)
    np.testing.assert_array_equal(out[0, end:], eos)
    np.testing.assert_array_equal(out[1, :8], free[1, :8])


def test_the_stream_ends_when_all_rows_are_done(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (1, 4))
    eos = int(generate(model, ids, 1)[0, -1])
    out = generate(model, np.concatenate([ids, ids]), 6, eos_token_id=eos)
    assert out.shape == (2, 5)
    assert (out[:, 4] == eos).all()


def test_each_row_is_filled_with_the_one_of_several_that_ended_it(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (2, 4))
    free = generate(model, ids, 12)
    ends = [int(free[0, 5]), int(free[1, 6])]
    places = [4 + int(np.argmax(np.isin(row[4:], ends))) for row in free]
    assert places[0] != places[1] and free[0, places[0]] != free[1, places[1]], (
        "another seed: rows must end differently"
    )
    expected = free[:, : max(places) + 1].copy()
    for row, place in zip(expected, places, strict=True):
        row[place:] = row[place]
    for several in (ends, tuple(ends), [np.int64(ends[1]), ends[0]]):
        np.testing.assert_array_equal(generate(model, ids, 12, eos_token_id=several), expected)


def test_same_seed_same_text(make_model, rng):
    model = make_model()
    ids = rng.integers(0, 37, (2, 4))
    one, two, other = (generate(model, ids, 12, temperature=1.5, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_text_may_fill_every_position(make_model):
    assert generate(make_model(), np.array([[1, 2]]), 31).shape == (1, 33)  # of 32: the last token is never read


def test_nan_weights_do_not_generate_token_0(make_model):
    model = make_model()
    model.norm.weight.value[0] = np.nan
    with pytest.raises(ValueError, match="logits must be finite, got nan"):
        generate(model, np.array([[1, 2]]), 3)


def test_top_k_and_top_p_narrow_the_choice(make_model, rng):
    model, ids = make_model(), rng.integers(0, 37, (2, 4))
    greedy = generate(model, ids, 10)
    for narrow in ({"top_k": 1}, {"top_p": 1e-9}):
        sampled = generate(model, ids, 10, temperature=5.0, rng=np.random.default_rng(3), **narrow)
        np.testing.assert_array_equal(sampled, greedy)
    assert not np.array_equal(generate(model, ids, 10, temperature=5.0, rng=np.random.default_rng(3)), greedy)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_new_tokens": 33}, ValueError, "^max_new_tokens must be between 1 and 32, got 33"),
        ({"top_k": 0, "temperature": 1.0}, ValueError, "^top_k must be at least 1"),
        ({"top_p": 0.0, "temperature": 1.0}, ValueError, "^top_p must be greater than 0"),
        ({"top_p": 1.5, "temperature": 1.0}, ValueError, "^top_p must be at most 1"),
        ({"top_k": 3}, ValueError, "^top_k and top_p need a temperature above 0"),
        ({"temperature": -0.5}, ValueError, "^temperature must be at least 0"),
        ({"temperature": 1.0}, TypeError, "^rng must be"),
        ({"eos_token_id": 37}, ValueError, "^eos_token_id must be between 0 and 36"),
        ({"eos_token_id": -1}, ValueError, "^eos_token_id must be between 0 and 36"),
        ({"use_cache": 1}, TypeError, "^use_cache must be True or False"),
    ],
)
def test_what_is_out_of_range_is_named(make_model, settings, error, message):
    with pytest.raises(error, match=message):
        stream(make_model(), np.array([[1]]), **{"max_new_tokens": 2} | settings)
