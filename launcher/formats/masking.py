"""A text made readable for a parser, character for character: forums, templates, Markdown and
Windows leave marks in commands that no shell understands.

What a word says is then taken from the text itself, so that nothing of the author's is changed.
"""

from __future__ import annotations

import re

from launcher.formats.markdown import blanked, blanked_match, blocks

COMMENT = "a comment inside the continued lines: a shell ends the command there"
LATE = "a blank after a backslash at the end of a line: a shell ends the command there"
BEHIND = "a comment behind the backslash of a continued line: a shell ends the command there"
DOUBLED = "two backslashes at the end of a line: a shell ends the command there"
CUTS = frozenset((BEHIND, COMMENT, DOUBLED, LATE))  # a shell would not run all of the command
MOST_COMMENTS = 50  # in a row
MOST_DOCUMENTS = 100  # here documents of a script
FILL = "\x01"  # in a word, for what a template fills in
_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
# can't, it's: of prose around a command, and no quote. `-e's/a/b/'` is one.
_CONTRACTED = re.compile(r"(?<=[A-Za-z])(?<!\s-[A-Za-z])'(?=(?:s|t|re|ve|ll|d|m)(?![\w']))")
_BLANK = re.compile("[\u00a0\u2000-\u200a\u202f\u3000\0\r]")
_OTHER = re.compile(r"[^\x02-\x7f]")
# `${{ github }}`, `{{ jinja }}`, `<a placeholder>` and YOUR_KEY stand for a word or a part of one.
TEMPLATE = re.compile(
    r"\$?\{\{[^{}\n]*\}\}|(?<![<\w])<(?:[A-Za-z](?:[\w .:/|-]{0,60}\w)?|\.{2,3}|x{2,4})>"
    r"|(?<![\w${])YOUR_[A-Z0-9_]+\b(?![=}])"
)
_SUM = re.compile(r"\(\((?:(?!\)\)).){1,200}\)\)", re.DOTALL)  # bash knows names alone in it
_STATEMENT = re.compile(r"\{%[^%\n]*%\}")
_PROMPT = re.compile(r"^[ \t]*(?:(?:[$>%] +)+(?=\S)|>+[ \t]*$|!(?=[A-Za-z/]))", re.MULTILINE)
_NUMBER = re.compile(r"^[ \t]*(\d{1,5})(?:[ ]?[:|.)\u2502]|(?=\t)|(?=[ ]))(?![\d.])", re.MULTILINE)
_IS_CONTINUED = re.compile(r"\\[ \t\r]*$")
_TAG = re.compile(
    r"</[A-Za-z][\w-]*>|<(?:details|summary|pre|code|br|div|span|strong|ul|ol|li|table|t[rdh]|h[1-6]"
    r"|blockquote)(?:[ \t][^<>\n]*)?/?>"
)
_OF_DIFF = re.compile(r"^@@ .*@@", re.MULTILINE)
_CHANGED = re.compile(r"^(?:@@.*|-.*|\+(?!\+))", re.MULTILINE)
# how PowerShell and cmd continue a line
_OF_WINDOWS = re.compile(r"(?<=[ \t])[`^]([ \t]*)$(?=\n[ \t]*-)", re.MULTILINE)
_BEHIND = re.compile(r"(?<=[ \t])\\([ \t]*#.*)$")
_DOUBLED = re.compile(r"(?<=[ \t])\\\\$(?=\n[ \t]*--?[A-Za-z])", re.MULTILINE)
_LATE_BACKSLASH = re.compile(r"\\([ \t]+)$", re.MULTILINE)


def masked(text: str) -> tuple[str, list[str]]:
    """The text as ASCII of the same length, and what a shell would have made of it otherwise."""
    text = _unnumbered(text).replace(
        "\\\r\n", " \\\n"
    )  # Windows' ends of lines: no blank of the author's
    text = _OTHER.sub("x", _BLANK.sub(" ", text.translate(_QUOTES)))
    text = _CONTRACTED.sub("x", _fenced(unprompted(text)))
    text = _OF_WINDOWS.sub(lambda found: found[1] + "\\", text)
    if text.count("<<") > MOST_DOCUMENTS:  # the parser keeps all that are open for each word
        text = text.replace("<<", "  ")
    text = _STATEMENT.sub(blanked_match, TEMPLATE.sub(lambda found: FILL * len(found[0]), text))
    text = _SUM.sub(lambda found: found[0].replace(FILL, "x"), text)
    return _continued(text)


def unprompted(text: str) -> str:
    """A text without the signs that shells and forums put before a line."""
    text = _unnumbered(text)
    if _OF_DIFF.search(text):  # what it takes away is no more
        text = _CHANGED.sub(blanked_match, text)
    return _PROMPT.sub(_unless_redirected, _TAG.sub(blanked_match, text))


def _unnumbered(text: str) -> str:
    """A text without the numbers of its lines, where all of them have one and count up."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = [_NUMBER.match(line) for line in lines]
    numbers = [int(one[1]) for one in found if one]
    if len(numbers) < max(2, len(lines)) or numbers != sorted({*numbers}):
        return text
    return _NUMBER.sub(blanked_match, text)


def _unless_redirected(found: re.Match[str]) -> str:
    """A prompt as blanks; the last `>` before a continued line is one where the line before has as
    many, or an option follows, and else sends what the command prints to a file.
    """
    text, signs = found.string, found[0].split()
    before = text[: found.start()].splitlines()[-1:] or [""]
    if signs[-1:] != [">"] or not _IS_CONTINUED.search(before[0]):
        return blanked_match(found)
    prompt = _PROMPT.match(before[0])
    as_many = len(signs) <= len(prompt[0].split() if prompt else ())
    if as_many or text.startswith("-", found.end()):
        return blanked_match(found)
    last = found[0].rindex(">")
    return blanked(found[0][:last]) + found[0][last:]


def _fenced(text: str) -> str:
    """Only what stands between fences of Markdown, if options do."""
    made, at = [], 0
    for start, end in blocks(text):
        made += [blanked(text[at:start]), text[start:end]]
        at = end
    return "".join([*made, blanked(text[at:])]) if made else text


def _continued(text: str) -> tuple[str, list[str]]:
    """Continued lines as their author meant them."""
    notes: list[str] = []
    if _LATE_BACKSLASH.search(text):
        notes.append(LATE)
        text = _LATE_BACKSLASH.sub(lambda found: found[1] + "\\", text)
    if _DOUBLED.search(text):
        notes.append(DOUBLED)
        text = _DOUBLED.sub(" \\\\", text)
    lines = text.split("\n")
    is_open = False
    for at, line in enumerate(lines):
        if is_open and line.lstrip().startswith("#"):
            goes_on = _next_option(lines, at)
            lines[at] = " " * (len(line) - goes_on) + "\\" * goes_on
            if goes_on:
                notes.append(COMMENT)
            is_open = goes_on
        elif (found := _BEHIND.search(line)) and _next_option(lines, at):
            lines[at] = line[: found.start()] + " " * len(found[1]) + "\\"
            notes.append(BEHIND)
            is_open = True
        else:
            is_open = line.endswith("\\") and not line.endswith("\\\\")
    return "\n".join(lines), list(dict.fromkeys(notes))


def _next_option(lines: list[str], at: int) -> bool:
    """Whether the first line after a comment that is none itself begins with an option."""
    following = (line.lstrip() for line in lines[at + 1 : at + MOST_COMMENTS])
    return next((line for line in following if not line.startswith("#")), "").startswith("-")
