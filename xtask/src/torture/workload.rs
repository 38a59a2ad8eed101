//! What the writers write: transactions made of acts, each on rows of the writer's own, chosen by its generator.
//!
//! In: a generator, a writer's number and the number of its transaction. Out: SQL. The same seed gives the same
//! transactions; what they find does not depend on what other writers do.

use fastrand::Rng;

use super::migration;

/// How many sessions write.
pub(super) const WRITERS: usize = 4;
/// The tables.
const SCHEMA: &str = include_str!("schema.sql");
/// A column whose type holds identifiers of objects, so that values travel as text, those of all tables.
const NOT_BINARY: &str = " p pair,";
/// With a filter, sequences arrive only with tables that use them.
const USED: &str =
    "CREATE TABLE numbers (a bigint DEFAULT nextval('loose'), b bigint DEFAULT nextval('down'))";
/// What is in them before the stream.
pub(super) const ROWS: &str = include_str!("rows.sql");
/// What all accounts hold together, at any time.
pub(super) const SUM: i64 = 1_000_000;

/// The names of two tables that are renamed; nobody captures what has the last.
pub(super) const NAMES: [&str; 4] = ["moved_0", "moved_1", "moved_2", HIDDEN];
pub(super) const HIDDEN: &str = "hidden_0";
/// The tables with most of the changes.
pub(super) const LARGE: [&str; 2] = ["heap", "files"];
/// Which transactions of the last writer are giants, and how many rows they insert.
const GIANTS: [(u64, u32); 3] = [(15, 10_000), (60, 20_000), (130, 50_000)];

/// What a transaction can do to rows of writer `{w}`, in its transaction `{n}`. `{a}`, `{b}` and `{c}` are different
/// numbers below 100, `{k}` is 4 × `{a}` + `{w}`, `{l}` and `{m}` are the same of `{b}` and `{c}`; `{t}` is one of
/// the names of tables that are renamed.
const ACTS: [&str; 42] = [
    "WITH o AS (INSERT INTO orders (writer, note) VALUES ({w}, '{n}') RETURNING id)
     INSERT INTO lines SELECT id, g, s.sku, {a} FROM o, generate_series(1, 3) g,
         (SELECT sku FROM products WHERE sku LIKE '{w}-{h}-%') s",
    "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders WHERE writer = {w})",
    "UPDATE orders SET note = note || '.' WHERE id = (SELECT max(id) FROM orders WHERE writer = {w})",
    // A key changes, and with it the rows that refer to it.
    "UPDATE products SET sku = '{w}-{h}-{n}' WHERE sku LIKE '{w}-{h}-%'",
    "UPDATE products SET price = {n} WHERE sku LIKE '{w}-{h}-%'",
    // A unique value passes from row to row.
    "WITH gone AS (DELETE FROM people WHERE id = {k} RETURNING name)
         UPDATE people SET name = (SELECT name FROM gone) WHERE id = {l};
     INSERT INTO people VALUES ({k}, {k}, 'again {k} at {n}')",
    "UPDATE people SET name = 'none {w}' WHERE id = {k}; UPDATE people SET name = 'of {k} at {n}' WHERE id = {l};
     UPDATE people SET name = 'of {l} at {n}' WHERE id = {k}",
    "UPDATE people SET name = 'first {n} of {w}' WHERE id = {k}; UPDATE people SET name = 'second {n} of {w}' WHERE id = {k};
     UPDATE people SET name = 'first {n} of {w}' WHERE id = {l}",
    // Rows that refer to each other, the first to one that is not there yet.
    "INSERT INTO people VALUES (100000 + {n} * 8 + {w} * 2, 100001 + {n} * 8 + {w} * 2, NULL);
     INSERT INTO people VALUES (100001 + {n} * 8 + {w} * 2, 100000 + {n} * 8 + {w} * 2, NULL)",
    "UPDATE queue SET place = CASE id WHEN {k} THEN (SELECT place FROM queue WHERE id = {l})
         ELSE (SELECT place FROM queue WHERE id = {k}) END WHERE id IN ({k}, {l})",
    // Keys are swapped; their long values stay.
    "UPDATE queue SET id = -{k} - 1 WHERE id = {k}; UPDATE queue SET id = {k} WHERE id = {l};
     UPDATE queue SET id = {l} WHERE id = -{k} - 1",
    "UPDATE documents SET id = -{k} - 1 WHERE id = {k}; UPDATE documents SET id = {k}, title = '{n}' WHERE id = {l};
     UPDATE documents SET id = {l} WHERE id = -{k} - 1",
    "UPDATE copies SET id = -{k} - 1 WHERE id = {k}; UPDATE copies SET id = {k} WHERE id = {l};
     UPDATE copies SET id = {l} WHERE id = -{k} - 1",
    // A chain: each key is another row's next.
    "DELETE FROM documents WHERE id = {k}; UPDATE documents SET id = {k} WHERE id = {l};
     UPDATE documents SET id = {l} WHERE id = {m}; INSERT INTO documents VALUES ({m}, 'chain', repeat('{n}', 2000), NULL)",
    "UPDATE documents SET title = '{n}' WHERE id IN ({k}, {l})",
    "UPDATE documents SET body = repeat(md5('{n}'), 120), title = title || '+' WHERE id = {k};
     UPDATE documents SET title = 'after' WHERE id = {k}",
    "UPDATE documents SET extra = NULL WHERE id = {k}; UPDATE documents SET body = 'short' WHERE id = {l}",
    "UPDATE documents SET title = title WHERE id = {k}",
    "INSERT INTO documents VALUES (1000 + {n} * 4 + {w}, 'new', repeat(md5('{n}'), 200), '');
     UPDATE documents SET title = 'newer' WHERE id = 1000 + {n} * 4 + {w}",
    "INSERT INTO documents VALUES (-1000 - {n} * 4 - {w}, 'brief', repeat(md5('{n}'), 200), '');
     DELETE FROM documents WHERE id = -1000 - {n} * 4 - {w}",
    "INSERT INTO documents VALUES ({k}, 'up', 'sert', '{n}') ON CONFLICT (id) DO UPDATE SET title = 'upserted {n}'",
    "UPDATE copies SET title = '{n}' WHERE id = {k}; UPDATE copies SET body = repeat(md5('{n}'), 90) WHERE id = {l}",
    "DELETE FROM copies WHERE id = {k}; INSERT INTO copies VALUES ({k}, NULL, repeat('{n}', 3000), NULL)",
    "UPDATE places SET code = '{w}/{k}/{n}' WHERE code LIKE '{w}/{k}' OR code LIKE '{w}/{k}/%'",
    "UPDATE places SET n = {n} WHERE code LIKE '{w}/{l}' OR code LIKE '{w}/{l}/%'",
    "DELETE FROM places WHERE code = '{w}/{m}'; INSERT INTO places VALUES ('{w}/{m}', {n}, repeat('{n}', 4000))
     ON CONFLICT (code) DO NOTHING",
    "INSERT INTO bag SELECT {w}, 'same', '{\"a\": 1,  \"a\": 2}', '-0' FROM generate_series(1, 3);
     DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE n = {w} AND t = 'same')",
    "UPDATE bag SET f = {n}, t = 'changed' WHERE ctid = (SELECT min(ctid) FROM bag WHERE n = {w} AND t = 'same')",
    "INSERT INTO events VALUES (100000 + {n} * 4 + {w}, 'b', {a});
     UPDATE events SET kind = 'a' WHERE id = 100000 + {n} * 4 + {w} AND kind = 'b'",
    "UPDATE events SET kind = CASE kind WHEN 'a' THEN 'b' WHEN 'b' THEN 'c' ELSE 'a' END WHERE id IN ({k}, {l})",
    "UPDATE events SET value = {n} WHERE id = {k}; DELETE FROM events WHERE id = 400 + {n} * 4 + {w}",
    "INSERT INTO measures (a, b) VALUES ({a}, 1e300); UPDATE measures SET a = -a WHERE id = {k} + 1",
    "UPDATE kinds SET b = {a} > 50, c = 'x', d = '-infinity', f = '-0', i = '-1 mons +{a} days -00:00:00.{a}', ip = '::{a}/96',
         j = '{\"k\": [{n}, null]}', m = 'happy', n = 1e-{a}, p = '({a},)', r = '[{a},)', t = '4713-01-01 BC',
         u = md5('{n}')::uuid, x = '\\x00{a}', arr = '[-1:0]={{a},NULL}', texts = '{\"\",NULL,\"a,b\"}', bits = B'10101',
         box = '(1,1),(0,{a})', time = '24:00+14' WHERE id = {k} % 200",
    "UPDATE \"Odd \"\"Name\" SET \"Ümläut\" = E'\\\\t\\n{n}' WHERE \"select\" = {k} % 200",
    "INSERT INTO nothing DEFAULT VALUES",
    "SELECT nextval('loose'), nextval('down'), setval('children_id_seq', nextval('children_id_seq') + 5)",
    "SELECT pg_logical_emit_message(true, 'torture', '{n}'), pg_logical_emit_message(false, 'torture', '{n}')",
    "COPY files (n) FROM PROGRAM 'seq {a} 100'",
    // Whatever columns there are by now.
    "DELETE FROM altered WHERE id = {k}; INSERT INTO altered SELECT (jsonb_populate_record(NULL::altered, jsonb_build_object(
         'id', {k}, 'n', {n}, 'a', {a}, 'b', repeat('{n}', 2000)) || (
             SELECT jsonb_object_agg(name || number, number) FROM unnest('{c,d,e}'::text[]) name, generate_series(0, 99) number
         ))).*",
    "UPDATE altered SET n = {n} WHERE id IN ({k}, {l})",
    "UPDATE altered SET id = -{k} - 1 WHERE id = {k}; UPDATE altered SET id = {k} WHERE id = {l};
     UPDATE altered SET id = {l} WHERE id = -{k} - 1",
    // Where there is a table of that name by now.
    "DO $$ DECLARE its int; BEGIN
         UPDATE {t} SET n = {n} WHERE id IN ({k}, {l});
         DELETE FROM {t} WHERE id = {m} RETURNING home INTO its;
         INSERT INTO {t} VALUES ({m}, {n}, its, repeat('{n}', 2000));
         INSERT INTO moves SELECT home, id, n FROM {t} WHERE id IN ({k}, {l}, {m}) AND '{t}' LIKE 'moved%';
     EXCEPTION WHEN undefined_table THEN NULL; END $$",
];

/// Only one writer truncates: rows that refer to truncated ones would be refused otherwise.
const TRUNCATES: [&str; 4] = [
    "TRUNCATE staging; COPY staging FROM PROGRAM 'seq 1 300'",
    "INSERT INTO staging VALUES ({n}); TRUNCATE staging; INSERT INTO staging VALUES (-{n})",
    "TRUNCATE parents RESTART IDENTITY CASCADE; INSERT INTO parents SELECT generate_series(0, 9);
     INSERT INTO children (parent) SELECT n % 10 FROM generate_series(0, {a}) n",
    "TRUNCATE parents, children; INSERT INTO parents SELECT generate_series(0, 9)",
];

/// The tables of a seed. With an odd one all values can travel in binary form, in which many rows share a statement.
pub(super) fn schema(seed: u64) -> String {
    let schema = if seed.is_multiple_of(2) {
        SCHEMA.to_owned()
    } else {
        SCHEMA.replace(NOT_BINARY, " p text,")
    };
    if migration::has(seed) { schema + USED } else { schema }
}

/// Transaction `n` of a writer, from `BEGIN` to `COMMIT`.
pub(super) fn transaction(random: &mut Rng, writer: usize, n: u64) -> String {
    let mut parts = beginning(writer, n);
    parts.push(transfer(random));
    for _ in 0..random.usize(0..4) {
        part(random, writer, n, &mut parts);
    }
    if writer == 0 && random.u8(0..20) == 0 {
        let truncate = TRUNCATES.get(random.usize(0..TRUNCATES.len())).copied().unwrap_or_default();
        parts.push(filled(truncate, random, writer, n));
    }
    if writer == WRITERS - 1 {
        parts.extend(giant(n));
    }
    parts.extend(end(writer, n));
    if random.u8(0..10) == 0 {
        // One that comes to nothing, before it.
        let mut nothing = vec!["BEGIN".to_owned(), transfer(random)];
        part(random, writer, n, &mut nothing);
        nothing.push("ROLLBACK".to_owned());
        nothing.append(&mut parts);
        parts = nothing;
    }
    parts.join(";\n")
}

/// In the place of a transaction that a constraint refused: acts can meet each other's values.
pub(super) fn plain(writer: usize, n: u64) -> String {
    beginning(writer, n).into_iter().chain(end(writer, n)).collect::<Vec<_>>().join(";\n")
}

fn beginning(writer: usize, n: u64) -> Vec<String> {
    vec!["BEGIN".to_owned(), format!("UPDATE counters SET n = {n} WHERE writer = {writer}")]
}

fn end(writer: usize, n: u64) -> [String; 3] {
    [
        // Which transactions this one has seen: wherever it is, these are too.
        format!(
            "INSERT INTO journal VALUES ({writer}, {n}, (SELECT array_agg(n ORDER BY writer) FROM counters))"
        ),
        format!("UPDATE twins SET n = {n} WHERE writer = {writer}"),
        "COMMIT".to_owned(),
    ]
}

/// An act, perhaps within a savepoint that is released or rolled back.
fn part(random: &mut Rng, writer: usize, n: u64, parts: &mut Vec<String>) {
    let act = ACTS.get(random.usize(0..ACTS.len())).copied().unwrap_or_default();
    let act = filled(act, random, writer, n);
    match random.u8(0..10) {
        0 | 1 => parts.extend(["SAVEPOINT s".to_owned(), act, "ROLLBACK TO s".to_owned()]),
        2 => parts.extend(["SAVEPOINT s".to_owned(), act, "RELEASE s".to_owned()]),
        _ => parts.push(act),
    }
}

/// Money goes from one account to another.
fn transfer(random: &mut Rng) -> String {
    let from = random.u32(0..1000);
    let to = (from + random.u32(1..1000)) % 1000;
    let amount = random.u32(1..100);
    format!(
        "UPDATE accounts SET balance = balance + CASE id WHEN {from} THEN -{amount} ELSE {amount} END \
         WHERE id IN ({from}, {to})"
    )
}

fn giant(n: u64) -> Option<String> {
    let (at, rows) = GIANTS.into_iter().find(|(at, _)| (*at..at + 3).contains(&n))?;
    let first = 1_000_000 * at;
    let last = first + u64::from(rows);
    Some(match n - at {
        0 => format!(
            "INSERT INTO heap SELECT g, {n}, md5(g::text) FROM generate_series({first}, {last}) g"
        ),
        1 => format!(
            "UPDATE heap SET batch = batch + 1 WHERE id BETWEEN {first} AND {}",
            first + u64::from(rows) / 8
        ),
        _ => format!(
            "SAVEPOINT s; DELETE FROM heap WHERE id > {first}; ROLLBACK TO s; DELETE FROM heap WHERE id BETWEEN {} AND {last}",
            last - u64::from(rows) / 4
        ),
    })
}

/// The act with numbers in the place of letters.
fn filled(act: &str, random: &mut Rng, writer: usize, n: u64) -> String {
    let a = random.usize(10..100);
    let b = (a - 10 + random.usize(1..45)) % 90 + 10;
    let c = (a - 10 + random.usize(45..90)) % 90 + 10;
    let own = |number: usize| (number * 4 + writer).to_string();
    act.replace("{w}", &writer.to_string())
        .replace("{n}", &n.to_string())
        .replace("{h}", &(a % 50).to_string())
        .replace("{a}", &a.to_string())
        .replace("{t}", NAMES.get(a % NAMES.len()).copied().unwrap_or_default())
        .replace("{k}", &own(a))
        .replace("{l}", &own(b))
        .replace("{m}", &own(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_transactions_and_another_seed_gives_others() {
        let written = |seed| {
            let mut random = Rng::with_seed(seed);
            (0..50).map(|n| transaction(&mut random, 1, n)).collect::<Vec<_>>()
        };
        assert_eq!(written(7), written(7));
        assert_ne!(written(7), written(8));
    }

    #[test]
    fn half_of_the_seeds_have_nothing_but_binary_values() {
        assert!(schema(2).contains(NOT_BINARY) && !schema(3).contains(NOT_BINARY));
        assert_eq!(SCHEMA.matches(" pair").count(), 1 + SCHEMA.matches("TYPE pair").count());
    }

    #[test]
    fn every_act_and_every_giant_comes_up() {
        let mut random = Rng::with_seed(1);
        let all: String = (0..400).map(|n| transaction(&mut random, WRITERS - 1, n)).collect();
        for act in ACTS {
            let beginning = act.split('{').next().unwrap_or_default();
            assert!(all.contains(beginning), "{beginning}");
        }
        assert_eq!(all.matches("INSERT INTO heap").count(), GIANTS.len());
        assert!(!all.replace("'{\"", "").contains("{w}"));
    }
}
