"""Strings of any script and length, written and read sixteen characters at a time."""

import random

import pytest
from pydantic import BaseModel

from omem import OMem


class Text(BaseModel):
    key: int
    text: str
    parts: list[str] = []


ALPHABETS = {
    "ascii": "abc xyz 0123456789~",
    "escapes": 'ab"\\\b\f\n\r\t\x00\x1f\x7f',
    "latin": "größe façade señal Zürich \x80\xa0\xff",
    "two bytes": "данные Ελληνικά \u0100\u07ff ab",
    "three bytes": "文字 データ \u0800\ud7ff\ue000\uffff ab",
    "mixed": 'ab é д 文 \u2028"\\',
    "beyond": "ab 文 😀\U00010000\U0010ffff",
    "half escaped": "文文文文文文文文文文文文文文文\n",
}


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)
def test_records_are_what_pydantic_writes_and_read_back(alphabet, tmp_path):
    dice = random.Random(5)

    def text(length):
        return "".join(dice.choice(alphabet) for _ in range(length))

    lengths = [*range(140), 1000, 4096]
    items = [Text(key=n, text=text(n), parts=[text(n % 7), text(n // 3)]) for n in lengths]
    memory = OMem(Text, "key")
    memory.add(items)
    assert memory.items == items
    memory.dump_data(tmp_path / "texts.json")
    lines = (tmp_path / "texts.json").read_bytes().decode().split("\n")
    assert [line.rstrip(",") for line in lines[1:-2]] == [item.model_dump_json() for item in items]
    fresh = OMem(Text, "key")
    fresh.load_data(tmp_path / "texts.json")
    assert fresh.items == items


@pytest.mark.parametrize("half", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
@pytest.mark.parametrize("before", [0, 15, 16, 40])
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(half, before):
    memory = OMem(Text, "key", lossy="error")
    with pytest.raises(ValueError, match="text"):
        memory.add(Text.model_construct(key=1, text="文" * before + chr(half) + "文", parts=[]))
    assert memory.size == 0
