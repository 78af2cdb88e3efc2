#!/usr/bin/env python3
"""Golden words and ids of the Japanese BERT tokenizer, from fugashi (MeCab) and transformers.

    python generate.py --dict-index /usr/lib/mecab/mecab-dict-index --data $ANAUME_DATA

needs fugashi, unidic-lite and transformers, and mecab-dict-index of Debian's package mecab-utils. It writes, beside this
file:
- dictionary/: a small compiled MeCab dictionary of the words below, with many paths of equal cost;
- vocab.txt: a small vocabulary;
- small.json: of many lines MeCab's words with that dictionary, and transformers' ids under several settings;
- real.txt: of real sentences (see `real_sentences`, and the same rule in tests/bert_japanese.rs) hashes of the words and of
  the ids with unidic-lite and a vocabulary made by rule (`real_vocab`).
"""
import argparse
import collections
import hashlib
import importlib.metadata
import itertools
import json
import pathlib
import random
import subprocess
import tempfile
import unicodedata

import fugashi
import unidic_lite
from transformers import BertJapaneseTokenizer

HERE = pathlib.Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

CHAR_DEF = """\
DEFAULT 0 1 0
SPACE 0 1 0
KANJI 0 0 2
SYMBOL 1 1 0
NUMERIC 1 1 0
ALPHA 1 1 0
HIRAGANA 0 1 2
KATAKANA 1 1 2
KANJINUMERIC 1 1 0
GREEK 1 1 15
0x0020 SPACE
0x0009..0x000D SPACE
0x00D0 SPACE
0x0021..0x002F SYMBOL
0x0030..0x0039 NUMERIC
0x003A..0x0040 SYMBOL
0x0041..0x005A ALPHA
0x005B..0x0060 SYMBOL
0x0061..0x007A ALPHA
0x007B..0x007E SYMBOL
0x0370..0x03FF GREEK
0x3000..0x303F SYMBOL
0x3041..0x309F HIRAGANA
0x30A1..0x30FF KATAKANA
0x30FC KATAKANA HIRAGANA
0xFF66..0xFF9F KATAKANA
0x4E00..0x9FFF KANJI
0x4E00 KANJINUMERIC KANJI
0x4E8C KANJINUMERIC KANJI
0x4E09 KANJINUMERIC KANJI
0x5341 KANJINUMERIC KANJI
"""
CLASSES = ["BOS", "名詞", "助詞", "動詞", "助動詞", "記号", "接頭", "数"]
# Costs are few and round, so that many paths cost the same and the rule for ties decides.
LEXICON = {
    "名詞": "東京 京都 都 東 京 大阪 大 阪 猫 犬 山 川 山川 すもも もも うち 外国 人 人参 参 政権 国 外国人 参政権 くるま くる ま にわ にわとり 庭 鳥 裏庭 図書 館 図書館 "
    "本 日 日本 日本語 語 本語 時計 計 今日 今 昨日 明日 明 朝 夕 ご飯 飯 納豆 A AB ABC iPhone コーヒー コー ヒー パン カレー ライス カレーライス α Σ 🍣 𠮷野 野家 吾輩 ㌔ = == 一 二 三 十 二十",
    "助詞": "は が を に で と も の へ から まで や か",
    "動詞": "くる いく 食べ 書く 見 ある いる し 来 降る 走る 読む ま",
    "助動詞": "た だ です ます ない である れ られ せ ん",
    "記号": "、 。 「 」 ！ ? 。。 … ( ) - --",
    "接頭": "お ご 大 無",
    "数": "0 1 2 3 10 100 ２ 3.14",
}
SPACED = ["Hello World", "New  York", "\u3000全"]


def lexicon():
    for index, (name, words) in enumerate(LEXICON.items(), start=1):
        for word in words.split(" ") + (SPACED if name == "名詞" else []):
            yield word, index, 100 * (len(word) % 3) + (200 if index in (3, 6) else 0)


def compile_dictionary(dict_index):
    """Writes HERE/dictionary; the costs of neighbours are multiples of 100 by a fixed rule."""
    out = HERE / "dictionary"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        (room / "char.def").write_text(CHAR_DEF)
        categories = [line.split()[0] for line in CHAR_DEF.splitlines() if not line.startswith("0x")]
        unknown = [(name, 1 + index % 2 * 4, 600) for index, name in enumerate(categories)] + [
            ("KATAKANA", 3, 600), ("ALPHA", 5, 500), ("NUMERIC", 7, 100), ("KANJI", 6, 700), ("GREEK", 3, 600)]
        (room / "unk.def").write_text("".join(f"{n},{i},{i},{c},未知語\n" for n, i, c in unknown))
        size = len(CLASSES)
        cost = lambda left, right: 100 * ((3 * left + 5 * right + left * right) % 4) - (100 if (left, right) in {(1, 2), (2, 1), (3, 4)} else 0)
        rows = [f"{left} {right} {cost(left, right)}\n" for left, right in itertools.product(range(size), repeat=2)]
        (room / "matrix.def").write_text(f"{size} {size}\n" + "".join(rows))
        (room / "words.csv").write_text("".join(f"{w},{i},{i},{c},語\n" for w, i, c in lexicon()))
        (room / "dicrc").write_text("cost-factor = 700\nbos-feature = BOS/EOS\n")
        for name in ["feature.def", "rewrite.def"]:
            (room / name).write_text("")
        subprocess.run([dict_index, "-d", room, "-o", out, "-f", "utf8", "-t", "utf8"], check=True, stdout=subprocess.DEVNULL)
        (out / "dicrc").write_text((room / "dicrc").read_text())
    (out / "mecabrc").write_text("")
    return out


LINES = [
    "", " ", "  \n\t ", "\u3000", "東京都", "すもももももももものうち", "外国人参政権", "裏庭には二羽にわとりがいる", "くるまでいく", "くるまでまつ", "今日のご飯は納豆である。",
    "吾輩は猫である。", "図書館の二階", "日本語の本", "東京 大阪", " 東京", "東京 ", "東京\n大阪", "\n\n東京\n\n", "東京\r\n大阪\r\n", "東京\t大阪", "東京\u3000大阪", "東京\u00a0大阪", "東京\u2028大阪",
    "Hello World", "Hello  World", "HelloWorld です", "New York", "New  York", "iPhone15を買った", "ABCABAB", "abc ABC aBc", "AＡA", "Ｔｅｓｔ　テスト", "１２３とⅣ", "3.14は円周率",
    "コーヒーとカレーライス", "カレーライスライスカレー", "ソーシャルネットワーキングサービス", "コーーーヒーーー", "あーーーっ", "ーーー", "ァィゥ", "ｶﾞｷﾞｸﾞｹﾞｺﾞ", "ﾊﾟﾝとｺｰﾋｰ", "ｱｲｳ",
    "か\u3099きく\u3099", "は\u309a", "e\u0301cole", "a\u0308\u0323b", "\u0301", "か゛", "🍣", "🍣🍣を食べた", "👨\u200d👩\u200d👧", "🇯🇵", "𠮷野家で𩸽", "𠮷野家", "葛\U000e0100城", "髙橋﨑", "龍龜",
    "㈱東京㌔㍿", "㋿元年", "㍻", "①②③", "ﬁnﬂ", "½", "x²", "CO₂", "…", "……", "。。。", "。。", "----", "-----a", "!!?!", "(笑)", "「猫」と『犬』", "～〜", "＝＝＝", "====", "a=b==c",
    "It's a don't ' b ' we've , c . d ? e !",
    "0123456789", "100円", "1 0 0", "10,000円", "二十三", "三千二百", "一二三十", "ΑΒΓΣ", "ΣΑΣ ΟΔΟΣ", "σς", "ÀÉÎ", "İstanbul", "straße", "ẞ", "Привет", "한국어", "שלום", "ไทย",
    "a" * 24, "a" * 25, "a" * 26, "a" * 27, "a" * 100, "a" * 101, "A" * 130 + "と", "あ" * 60, "ア" * 24, "ア" * 25, "ア" * 26, "ア" * 120, "漢" * 40, "9" * 26, "９" * 40, "-" * 30, "α" * 20, "ー" * 30,
    "猫" * 100, "ん" * 101, "あ" + "ー" * 24, "http://example.com/猫?x=1", "a_b-c.d", "U+3042", "\x01\x02", "a\x1fb", "a\x1cb 猫", "\ufeff東京", "\u200b猫", "\u00ad猫", "\ufffd猫", "\uffff猫", "\ufffe", "\x7f猫",
    "[MASK]", "東京[MASK]大阪", "[MASK][MASK]", "猫は[MASK]である。", "[MASK]は猫", " [MASK] ", "[CLS]猫[SEP]", "[UNK]", "[PAD]", "[mask]", "[MASK", "MASK]", "[[MASK]]", "猫[UNK]犬", "[SEP][CLS]",
    "大阪大", "大大阪", "お猫", "ご飯ご", "無人", "本日本語", "山川山川", "くるくるま", "まま", "まままま", "ももも", "もももも", "京東京都京", "ABABABC", "==…==", "--…--", "コーコーヒー", "ヒーヒーコー",
]
ALPHABETS = ["東京都大阪", "すもうちのは", "くるまでいにわ", "AB=a-", "コーヒーパンカレライス", "一二十三日本語", "猫 犬\nは。", "Σα0 1.A", "ｶﾞｱか\u3099ー", "🍣𠮷野家\u3000全"]


def lines():
    draw = random.Random(0)
    made = ["".join(draw.choices(alphabet, k=draw.randint(2, 24))) for alphabet in ALPHABETS for _ in range(12)]
    return LINES + made


def small_vocab():
    """Special tokens; characters, some left out; a few words and endings."""
    chars = sorted({c for line in lines() for form in ("NFKC", "NFC") for c in unicodedata.normalize(form, line).lower() + unicodedata.normalize(form, line) if not c.isspace()})
    chars = [c for c in chars if ord(c) % 7 != 0]
    words = ["東京", "大阪", "コーヒー", "カレー", "##ライス", "##ーー", "図書館", "すもも", "もも", "abc", "##bc", "aa", "##aa", "hello", "Hello", "iPhone", "##ab", "猫", "##猫猫", "10", "##00", "##…", "[unused1]"]
    return list(dict.fromkeys(SPECIAL + chars + ["##" + c for c in chars if ord(c) % 5 != 0] + words))


SETTINGS = {
    "mecab wordpiece": {},
    "mecab wordpiece lower": {"do_lower_case": True, "never_split": ["ABC"]},
    "mecab wordpiece raw": {"mecab": {"normalize_text": False}},
    "mecab character": {"subword_tokenizer_type": "character"},
    "basic wordpiece": {"word_tokenizer_type": "basic"},
    "basic wordpiece lower": {"word_tokenizer_type": "basic", "do_lower_case": True, "never_split": ["Hello"]},
    "basic character": {"word_tokenizer_type": "basic", "subword_tokenizer_type": "character"},
}


def settings(given):
    """tokenizer_config.json without where the dictionary is."""
    config = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece"} | given
    mecab = config.pop("mecab", {})
    return config | {"mecab_kwargs": mecab}


def tokenizer(vocab, config, dictionary):
    given = {key: value for key, value in config.items() if key not in ("tokenizer_class", "mecab_kwargs")}
    mecab = {"mecab_dic": None, "mecab_option": f'-d "{dictionary}" -r "{dictionary}/mecabrc"'} | config["mecab_kwargs"]
    return BertJapaneseTokenizer(str(vocab), mecab_kwargs=mecab, **given)


def small(dictionary):
    vocab = HERE / "vocab.txt"
    vocab.write_text("".join(piece + "\n" for piece in small_vocab()))
    tagger = fugashi.GenericTagger(f'-d "{dictionary}" -r "{dictionary}/mecabrc"')
    texts = lines()
    golden = {"texts": texts, "words": [[word.surface for word in tagger(text)] for text in texts], "settings": []}
    for name, given in SETTINGS.items():
        config = settings(given)
        made = tokenizer(vocab, config, dictionary)
        ids = [made(text)["input_ids"] for text in texts]
        pairs = [made(first, second)["input_ids"] for first, second in itertools.pairwise(texts[::9])]
        decoded = [made.decode(row, skip_special_tokens=True) for row in ids[::9]]
        golden["settings"].append({"name": name, "config": config, "ids": ids, "pairs": pairs, "decoded": decoded})
    clean = settings({"clean_up_tokenization_spaces": True})
    made = tokenizer(vocab, clean, dictionary)
    pointed = [text for text in texts if set(text) & set(".,!?'")]
    golden["clean_up"] = [[text, made.decode(made(text)["input_ids"], skip_special_tokens=True)] for text in pointed]
    golden["clean_up_config"] = clean
    golden["long"] = digest([word.surface for word in tagger("".join(texts) * 100)])
    golden["versions"] = versions()
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (HERE / "small.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")


def real_sentences(data):
    """Whole lines of text; the same rule is in tests/bert_japanese.rs."""
    def field(path, name, count):
        with open(data / path, encoding="utf-8") as file:
            return [json.loads(line)[name] for line in itertools.islice(file, count)]
    with open(data / "ner_wikipedia/sentences.txt", encoding="utf-8", newline="\n") as file:
        ner = [line.rstrip("\n") for line in itertools.islice(file, 1500)]
    return (ner + field("jglue/jsts-valid-v1.3.json", "sentence1", 600) + field("jcola/in_domain_valid-v1.0.json", "sentence", 300)
            + field("jaquad/contexts.jsonl", "text", 400) + field("wiki_kyoto/passage_pairs.jsonl", "positive", 400))


def real_vocab(words):
    """Special tokens, characters that occur twice or more and the same with ##, and the 4,000 most frequent words."""
    words = [word for sentence in words for word in sentence]
    chars = collections.Counter(char for word in words for char in word if not char.isspace())
    chars = sorted(char for char, count in chars.items() if count > 1)
    frequent = sorted(collections.Counter(words).items(), key=lambda item: (-item[1], item[0]))[:4000]
    return list(dict.fromkeys(SPECIAL + chars + ["##" + char for char in chars] + [word for word, _ in frequent]))


def digest(parts):
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def real(data):
    dictionary = unidic_lite.DICDIR
    tagger = fugashi.GenericTagger(f'-d "{dictionary}" -r "{dictionary}/mecabrc"')
    sentences = real_sentences(data)
    words = [[word.surface for word in tagger(unicodedata.normalize("NFKC", text))] for text in sentences]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as vocab:
        vocab.write("".join(piece + "\n" for piece in real_vocab(words)))
        vocab.flush()
        made = tokenizer(vocab.name, settings({}), dictionary)
        ids = [made(text)["input_ids"] for text in sentences]
    rows = [f"{digest(w)} {digest(map(str, i))}\n" for w, i in zip(words, ids, strict=True)]
    (HERE / "real.txt").write_text("".join(rows))


def versions():
    packages = ["transformers", "fugashi", "unidic-lite"]
    return {name: importlib.metadata.version(name) for name in packages} | {"unicode": unicodedata.unidata_version, "mecab": "0.996"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dict-index", default="/usr/lib/mecab/mecab-dict-index")
    parser.add_argument("--data", type=pathlib.Path)
    arguments = parser.parse_args()
    small(compile_dictionary(arguments.dict_index))
    if arguments.data:
        real(arguments.data)
