"""Markdown taken apart."""

from __future__ import annotations

from penstock.operate.doctor.markdown import comment_prose, parts_of

PAGE = """\
# Title

Some prose
over two lines.

- an item with `kubectl get pods --x` in it

  ```yaml
  a: 1
  ```

~~~
plain
~~~
"""


def test_fences_prose_and_commands_have_their_lines() -> None:
    parts = {(p.language, p.line): p.text for p in parts_of(PAGE)}

    assert parts["prose", 2] == "Some prose\nover two lines."
    assert parts["span", 5] == "kubectl get pods --x"
    assert parts["yaml", 8] == "a: 1"
    assert parts["", 12] == "plain"


def test_a_fence_that_never_ends_holds_the_rest() -> None:
    assert [p.text for p in parts_of("```sh\na\nb") if p.language == "sh"] == ["a\nb"]


def test_comments_are_prose_and_neighbours_are_one_paragraph() -> None:
    parts = comment_prose("a: 1  # one\n# two\n# three\n\nb: '#no' \n")

    assert [(p.line, p.text) for p in parts] == [(0, "one\ntwo\nthree")]
