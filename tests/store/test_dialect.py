"""What PostgreSQL is asked in place of each form of SQLite's that it does not know."""

import pytest

from bot.store.dialect import to_postgres


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a FROM t WHERE b = ? AND c = ?", "SELECT a FROM t WHERE b = $1 AND c = $2"),
        ("SELECT ?2, ?1, ?2", "SELECT $2, $1, $2"),
        ("SELECT 'why?', ?", "SELECT 'why?', $1"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1"),
        ("a CROSS JOIN b ON b.x = a.x CROSS JOIN c", "a JOIN b ON b.x = a.x CROSS JOIN c"),
        ("a CROSS JOIN b c ON c.x = a.x", "a JOIN b c ON c.x = a.x"),
        ("instr(text, 'x') > 0", "strpos(text, 'x') > 0"),
        ("json_extract(o.state, '$.a.b[0].c')", r"(replace(o.state, '\u0000', '\ufffd')::json #>> '{a,b,0,c}')"),
        ("json_array_length(state, '$.a')", r"json_array_length(replace(state, '\u0000', '\ufffd')::json #> '{a}')"),
        (
            "json_set(sampling, '$.stop', json('[]'))",
            r"CAST(jsonb_set(replace(sampling, '\u0000', '\ufffd')::jsonb, '{stop}', '[]') AS TEXT)",
        ),
        ("json_group_array(sent_id)", "coalesce(CAST(json_agg(sent_id) AS TEXT), '[]')"),
        (
            "json_group_array(json_array(c.id, c.name))",
            "coalesce(CAST(json_agg(json_build_array(c.id, c.name)) AS TEXT), '[]')",
        ),
    ],
)
def test_a_statement_means_the_same(sql: str, expected: str) -> None:
    assert to_postgres(sql).sql == expected
    assert to_postgres(sql).lists == frozenset()


@pytest.mark.parametrize(
    ("sql", "name", "lists"),
    [
        ("x IN (SELECT value FROM json_each(?))", "each", {0}),
        ("FROM json_each(?3) WHERE a = ?1", "each", {2}),
        ("FROM json_each(?2) gone CROSS JOIN t ON t.x = gone.value AND t.y = ?1", "gone", {1}),
        ("FROM json_each(?) CROSS JOIN t", "each", {0}),
    ],
)
def test_the_elements_of_a_json_array_are_those_of_an_array(sql: str, name: str, lists: set[int]) -> None:
    statement = to_postgres(sql)
    number = min(lists) + 1
    assert f"unnest(${number}::text[]) WITH ORDINALITY AS {name} (value, key)" in statement.sql
    assert statement.lists == lists
    assert "json_each" not in statement.sql
