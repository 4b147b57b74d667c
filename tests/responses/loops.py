"""Answers of small models that repeat themselves without an end, and answers that are fine."""

from __future__ import annotations

from attrs import frozen


@frozen
class Loop:
    """An answer that goes round."""

    beginning: str
    unit: str
    """What follows, over and over. `{n}` in it is a counter."""
    found: int
    """Characters of it after which it is noticed at the latest."""

    def repetitions(self, size: int) -> str:
        """At least `size` characters of it."""
        text, n = "", 0
        while len(text) < size:
            n += 1
            text += self.unit.replace("{n}", str(n))
        return text


PARAGRAPH = (
    "The machine had a camera that could see through walls. Kylo had been told to use the camera "
    "to look through the city's buildings, and to find the light. The light had been broken for a "
    "year, and nobody had been able to find it, because nobody had a camera that could see through "
    "walls. So Kylo went on.\n\n"
)
LOOPS = {
    "one word": Loop("Sure, here it comes: ", "ha ", 2000),
    "one line": Loop("The sea:\n\n", "The ocean is a place of endless wonder.\n", 2000),
    "two verses": Loop(
        "In the depths of the ocean, where shadows play,\n",
        "A place where the human soul is free,\nA place where the soul is free to roam.\n\n",
        2000,
    ),
    "one paragraph": Loop("Once there was a robot.\n\n", PARAGRAPH, 2500),
    "one paragraph of 1,200 characters": Loop("", 3 * PARAGRAPH[:-2] + "The end.\n\n", 7500),
    "a list of three": Loop(
        "To undo it:\n\n",
        "- Run `git status` to see what has changed.\n- Run `git add` for each file.\n"
        "- Run `git commit` with a message.\n",
        2000,
    ),
    "a list of languages": Loop(
        "- English: Good morning\n",
        "- French: Bonjour\n- Spanish: Buenos días\n- Chinese: 早上好\n- Russian: Доброе утро\n",
        2000,
    ),
    "names of columns": Loop("ID,Name,Salary", ",CompanyName", 2000),
    "inside of a value of JSON": Loop('{"name": "Espresso-Lemon', "-Coconut-Mocha", 2000),
    "objects of JSON": Loop(
        "[",
        '\n  {\n    "name": "Mocha, Blackberry and Strawberry",\n    "description": "A popular '
        'fruit that is eaten all over the world",\n    "price": 1.99\n  },',
        2000,
    ),
    "text with code": Loop(
        "To make a branch:\n\n",
        "```bash\n# Switch to your new branch\ngit checkout -b your_branch\n```\n\nThis will "
        'create a new branch named "your_branch" and switch to it.\n\nYou can also use this '
        "command:\n\n",
        2000,
    ),
    "a line of code": Loop("```python\n", "print(add(1, 2))\n", 4500),
    "rows of a table": Loop(
        "| planet | mass |\n|---|---|\n", "| Earth   | 1 |\n| Mars    | 2 |\n", 4500
    ),
    "a number": Loop("Ports: ", "\n1024", 4500),
    "one character": Loop("It is ", "a", 4500),
    "line ends": Loop("I am done.", "\n", 1500),
    "blanks": Loop("```\n", "    \n  \n", 1500),
    "Chinese": Loop("好的。", "我会检查文件。然后运行测试。", 2000),
    "one Chinese character": Loop("笑。", "哈", 2000),
    "an emoji": Loop("Great job! ", "🎉", 2000),
    "steps with a counter": Loop(
        "Do this:\n\n", "Step {n}: Run the tests again and look at the output.\n", 4200
    ),
    "examples with a counter": Loop(
        "Recursion:\n\n",
        "**Example {n}:**\n\nOne that calls itself with a smaller number, until it is one.\n\n",
        4200,
    ),
    "no beginning": Loop("", "I will look at the file. ", 2000),
    "a unit that repeats itself": Loop(
        "So:\n", 4 * "The cat sat on the mat, and\n" + "left.\n", 2000
    ),
}

LICENSE = (
    "Permission is granted to use, copy and change this program for any purpose, as long as this "
    "notice stays in all copies. There is no warranty of any kind.\n"
)


def rows(form: str, count: int, start: int = 1) -> str:
    """Lines that differ by a number."""
    return "".join(form.replace("{n}", str(n)) for n in range(start, start + count))


FINE = {
    "a word a hundred times": "Here you are:\n\n" + 100 * "hello\n",
    "a greeting a hundred times": "```\n" + 100 * "Hello, world!\n" + "```\n",
    "a statement a hundred times": "```python\n" + 100 * "print('hello')\n" + "```\n",
    "a punishment": 50 * "I will not talk in class.\n",
    "a short answer": "The test fails because `add` subtracts. I changed one line.",
    "a poem with a refrain": "".join(
        f"The {thing} goes round and round,\nround and round, round and round.\n"
        f"The {thing} goes round and round,\nall through the town.\n\n"
        for thing in ("wheel", "mill", "clock", "band", "ring", "wind", "song", "year")
    ),
    "rulers": "".join(f"{80 * '='}\n{title}\n{80 * '='}\n\n" for title in "ABCDEFGH"),
    "one long ruler": 1000 * "=",
    "an ASCII box": f"+{78 * '-'}+\n" + 40 * f"|{78 * ' '}|\n" + f"+{78 * '-'}+\n",
    "a chequered board": 8 * (8 * "██  " + "\n" + 8 * "  ██" + "\n"),
    "a matrix of zeros": "[\n" + 30 * f"  [{', '.join(30 * '0')}],\n" + "]\n",
    "a table of bytes": "{\n" + 16 * f"    {16 * '0x00, '}\n" + "};\n",
    "masks in hexadecimal": 24 * f"{8 * '0xffffffff, '}\n",
    "zeros in base64": f"data:image/png;base64,{3000 * 'A'}==",
    "a board for sudoku": "<table>\n"
    + 9 * ("<tr>\n" + 9 * '<td><input type="text" maxlength="1"></td>' + "\n</tr>\n")
    + "</table>\n",
    "a list in HTML": "<ul>\n" + 50 * "  <li>Item</li>\n" + "</ul>\n",
    "a table": "| name | price | stock |\n|---|---|---|\n" + rows("| item {n} | 10 | yes |\n", 80),
    "CSV": "id,name,mail\n" + rows("{n},Employee {n},employee{n}@example.com\n", 200),
    "SQL": rows("INSERT INTO users (id, name) VALUES ({n}, 'User {n}');\n", 150),
    "JSON": "[\n" + rows('  {"id": {n}, "name": "Product {n}", "active": true},\n', 120) + "]\n",
    "a log": rows("2026-01-01 12:00:{n} INFO request {n} was answered in {n} ms\n", 150),
    "numbers": ", ".join(map(str, range(1, 1500))),
    "a plan for a month": rows("Day {n}: Practise for half an hour, then read your notes.\n", 31),
    "a progress bar": "".join(f"\r[{n * '#'}{(40 - n) * '.'}] {n * 2} %" for n in range(41)),
    "deep indentation": "".join(f"{4 * n * ' '}if a[{n}]:\n" for n in range(40)),
    "blank lines": 5 * ("A paragraph." + 100 * "\n"),
    "a licence in front of four files": "".join(
        f"# {name}.py\n{3 * LICENSE}\ndef {name}():\n    return 1\n\n"
        for name in ("a", "b", "c", "d")
    ),
    "the same test for many values": "".join(
        f"def test_{word}():\n    assert parse('{word}') == '{word.upper()}'\n\n"
        for word in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    ),
    "German": 3 * "Der Test schlägt fehl, weil eine Zahl fehlt. Ich habe sie ergänzt.\n",
    "Chinese": 20 * "好的。我来看看。"
    + "测试失败了。函数返回了错误的值。我修改了一行代码。现在通过了。",
    "laughter": "It works " + 60 * "ha" + "!",
}
