"""A comment about any plan fits, and no text in it becomes anything but text."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reconciler.contents import Fact, Inside
from reconciler.drift import DriftItem, DriftReport
from reconciler.errors import Problem
from reconciler.model import Address, Change, Depth, Finding, Place, Severity, Step, StoreConfig
from reconciler.plan import Plan, StorePlan
from reconciler.render.comment import LIMIT, plan_comment
from reconciler.render.markdown import drift_markdown
from reconciler.render.sarif import plan_sarif
from reconciler.stores.memory import SHAPE
from tests.integration.sarif_shape import check_sarif

GITHUB = 65_536
HOSTILE = (
    "`` ` ```",
    "![x](https://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<!-- reconciler:plan -->",
    "--> <script>",
    "@octocat and @org/team",
    "fixes #1, GH-2, octo/repo#3",
    "https://evil.example www.evil.example evil@example.org",
    "| cell | injected |",
    "line\n\n# heading\n- item",
    "\u202egnp.exe \u200b\u2066hidden\u2069",
    "\\` \\| \\",
    "**bold** __x__ ~~y~~ $math$ :tada:",
    "a" * 500,
    "ﷺ𒐫" * 200,
    "",
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=80))


def plan_of(
    keys: list[str], findings: list[tuple[str, str, str]], *, stores: int = 1, value: str = "listed"
) -> Plan:
    """A plan with these texts wherever a text of somebody else can stand."""
    parts = []
    addresses: list[Address] = []
    for number in range(stores):
        addresses = [Address(f"s{number}", "dataset", key) for key in keys]
        changes = tuple(Change(address, "entry", None, value) for address in addresses)
        parts.append(
            StorePlan(
                config=StoreConfig(
                    name=f"s{number}", kind="memory", settings={}, place=Place("s.yaml", 1, 1)
                ),
                shape=SHAPE,
                steps=(Step(id=f"promote {keys[0]}", store=f"s{number}", unit="u", changes=changes),)
                if keys
                else (),
                adopted=(),
                unchanged=0,
                newly_ours=0,
                depth=Depth.MANIFESTS,
                places={address: Place(address.key, 7, 1) for address in addresses},
            )
        )
    found = tuple(
        Finding(
            rule="a-rule",
            severity=Severity.DENY,
            subject=subject,
            message=message,
            place=Place(path, 3, 1),
            fix=message,
        )
        for subject, message, path in findings
    )
    return Plan(
        stores=tuple(parts),
        commit="c" * 40,
        policy="sha256:" + "1" * 64,
        tool="t",
        findings=found,
        contents=tuple(looked_into(address, value) for address in addresses[:20]),
    )


def looked_into(address: Address, value: str) -> Inside:
    return Inside(
        address=address,
        content=address.key,
        beside=value,
        facts=(Fact("schema", value, address.key), Fact("genes", 1, 2)),
        differences=(address.key, value),
        problems=(Problem(code="E_X", message=value, path=address.key, got=value),),
    )


def tokens(body: str) -> list[Token]:
    """What a renderer of GitHub's Markdown makes of a body, but for what it does with plain text."""
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(body)
    return [inner for token in parsed for inner in (token, *(token.children or ()))]


def check_harmless(body: str, *, comments: int = 2) -> None:
    found = tokens(body)
    html = [token.content for token in found if token.type in {"html_block", "html_inline"}]
    assert [line[:10] for line in html] == ["<!-- recon", "<!-- body "][:comments]
    assert [line.count("<") for line in html] == [line.count("-->\n") for line in html] == [1] * comments
    assert {t.type for t in found} & {"link_open", "image", "fence", "code_block", "s_open", "hr"} == set()
    plain = "\n".join(token.content for token in found if token.type == "text")
    assert re.findall(r"@\w|#\d|GH-\d|://|www\.|[*_~$<>\[\]`|]|:\w+:|[0-9a-f]{7}", plain) == []
    assert body.isprintable() or set(body) - {"\n"} == {c for c in body if c.isprintable()}
    assert {token.tag for token in found if token.type == "heading_open"} == {"h3"}


@given(
    keys=st.lists(texts, max_size=6, unique=True),
    findings=st.lists(st.tuples(texts, texts, texts), max_size=4),
    value=texts,
    scope=texts,
)
@example(keys=list(HOSTILE), findings=[(t, t, t) for t in HOSTILE], value=HOSTILE[1], scope=HOSTILE[4])
def test_no_text_of_a_plan_becomes_a_link_a_mention_markup_or_another_comment(
    keys: list[str], findings: list[tuple[str, str, str]], value: str, scope: str
) -> None:
    plan = plan_of(keys, findings, value=value)
    check_harmless(plan_comment(plan, scope=scope))
    check_sarif(plan_sarif(plan, version="1.0.0"))


@given(text=texts, items=st.sampled_from([1, 150, 300]), warnings=st.sampled_from([0, 3, 500]))
@example(text="ﷺ𒐫" * 200, items=300, warnings=500)
def test_drift_report_fits_into_an_issue_and_its_texts_stay_text(
    text: str, items: int, warnings: int
) -> None:
    report = DriftReport("c" * 40, Depth.MANIFESTS)
    for number in range(items):
        address = Address("s", "dataset", f"{number}{text}")
        report.add(DriftItem(address=address, verdict="drift", what="moved", place=text))
    report.warnings += [text] * warnings
    body = drift_markdown(report)
    assert len(body.encode("utf-8")) < GITHUB
    check_harmless(body, comments=0)
    more = [int(number) for number in re.findall(r"^… and (\d+) more: ", body, re.MULTILINE)]
    assert len(re.findall(r"^\| drift \|", body, re.MULTILINE)) + sum(more) == items


@given(
    text=texts,
    changes=st.sampled_from([0, 1, 150, 2_000]),
    findings=st.sampled_from([0, 1, 300]),
    stores=st.sampled_from([1, 2, 30]),
)
@example(text="a" * 500, changes=2_000, findings=300, stores=30)
@example(text="ﷺ𒐫" * 200, changes=2_000, findings=300, stores=30)
@example(text="x", changes=100_000, findings=5_000, stores=1)
def test_comment_fits_for_any_number_of_changes_and_counts_what_it_leaves_out(
    text: str, changes: int, findings: int, stores: int
) -> None:
    keys = [f"{number}{text}" for number in range(changes)]
    plan = plan_of(keys, [(text, text, text)] * findings, stores=stores, value=text or "v")
    body = plan_comment(plan)
    assert len(body.encode("utf-8")) <= LIMIT < GITHUB
    shown = len(re.findall(r"^\| \+ ", body, re.MULTILINE))
    left_out = [int(n) for n in re.findall(r"^… and (\d+) more: ", body, re.MULTILINE)]
    assert shown + sum(left_out) == changes * stores
    listed = len(re.findall(r"^- \*\*deny", body, re.MULTILINE))
    rest = [int(n) for n in re.findall(r"^- … and (\d+) more: ", body, re.MULTILINE)]
    assert listed + sum(rest) == findings
