from minilora.data import ByteTokenizer, corpus


def test_corpus_split_shares_no_paragraph():
    training, held_out = corpus.split_sections(corpus.sections(corpus.load_topics()))
    paragraphs = [
        {" ".join(p.split()) for _, body in part for p in body.split("\n\n")} for part in (training, held_out)
    ]
    assert len(held_out) > 10 and len(training) > 8 * len(held_out)
    assert not paragraphs[0] & paragraphs[1]


def test_sections_keep_a_paragraph_once():
    text = "One\n***\n\nsame words\n\nnew\n\nTwo\n===\n\nsame\nwords\n\nother\n"
    assert corpus.sections(text) == [("One", "same words\n\nnew"), ("Two", "other")]


def test_a_section_is_laid_out_as_a_record():
    tokens = corpus.encode_sections([("ab", "c"), ("d", "e")], ByteTokenizer())
    assert tokens.tolist() == [0xFD, 97, 98, 0xFC, 99, 0xFF, 0xFD, 100, 0xFC, 101, 0xFF]
