//! Takes out of an answer what it repeats of an event. Pure.
//!
//! Endpoints like to repeat what they do not understand, and rows do not belong in logs. In: the text of an answer, and the request's body.
//! Out: the text, with `…` in place of each word that a row has, too. What an endpoint says in its own words stays.

use std::collections::HashSet;
use std::ops::Range;

use memchr::memmem;

/// Words of every event, and of messages about it: they tell nothing of a row.
const ENVELOPE: &str = "before after source transaction op ts_ms ts_us ts_ns message prefix content schema table lsn data null";
/// A word of so many bytes that begins one of a row is a piece of it: texts are cut when they are repeated.
const PIECE_BYTES: usize = 4;
/// What a word and a row have in common by chance is shorter.
const COMMON_BYTES: usize = 24;

/// `text` without the words of the rows in `events`, a request's body, save those of `names`: of tables and columns.
pub(super) fn without_rows(text: &str, events: &[u8], names: &[&str]) -> String {
    let rows = rows(events);
    let text = unescaped(text);
    let bytes = text.as_bytes();
    let known: HashSet<Vec<u8>> = std::iter::once(ENVELOPE)
        .chain(names.iter().copied())
        .flat_map(|name| words(name.as_bytes()).map(|word| lower(name.as_bytes(), word)))
        .collect();
    let open: HashSet<Vec<u8>> =
        words(bytes).map(|word| lower(bytes, word)).filter(|word| !known.contains(word)).collect();
    let taken = taken(&open, &known, &rows);
    let mut shown = String::new();
    let (mut end, mut is_hidden) = (0, false);
    for word in words(bytes) {
        let hides = taken.contains(&lower(bytes, word.clone()))
            || has_in_common(bytes.get(word.clone()).unwrap_or_default(), &rows);
        // One sign for a run of words.
        if !(is_hidden && hides) {
            shown.push_str(text.get(end..word.start).unwrap_or_default());
            shown.push_str(if hides { "…" } else { text.get(word.clone()).unwrap_or_default() });
        }
        (end, is_hidden) = (word.end, hides);
    }
    shown.push_str(text.get(end..).unwrap_or_default());
    shown
}

/// The parts of a body that hold rows. What marks their ends has quotes, which are escaped wherever they are part of a row.
fn rows(body: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<_> = memmem::find_iter(body, b"\"data\":").collect();
    if starts.is_empty() {
        // The data alone, as in binary mode.
        starts.push(0);
    }
    let ends = starts.iter().skip(1).copied().chain([body.len()]);
    let events = starts.iter().zip(ends).filter_map(|(&start, end)| body.get(start..end));
    let row = |event| match memmem::find(event, b",\"source\":{\"version\":") {
        Some(end) => event.get(..end).unwrap_or(event),
        None => event,
    };
    events.map(row).collect()
}

/// Those of `open` that are words of `rows` beside the `known` ones, or pieces of them.
fn taken<'a>(
    open: &'a HashSet<Vec<u8>>,
    known: &HashSet<Vec<u8>>,
    rows: &[&[u8]],
) -> HashSet<&'a Vec<u8>> {
    let lengths: HashSet<usize> =
        open.iter().map(Vec::len).filter(|length| *length >= PIECE_BYTES).collect();
    let longest = open.iter().chain(known).map(Vec::len).max().unwrap_or_default();
    // Most words of a large event begin as none of the answer does.
    let begins: HashSet<[u8; 2]> = open.iter().map(|word| first_two(word)).collect();
    let mut taken = HashSet::new();
    let all = rows.iter().flat_map(|row| words(row).filter_map(|word| row.get(word)));
    for whole in all {
        if !begins.contains(&first_two(whole)) {
            continue;
        }
        let word = whole.get(..longest).unwrap_or(whole).to_ascii_lowercase();
        let is_whole = word.len() == whole.len();
        if is_whole && known.contains(&word) {
            continue;
        }
        let pieces = lengths.iter().filter_map(|length| word.get(..*length));
        let repeats = is_whole.then_some(&*word).into_iter().chain(pieces);
        taken.extend(repeats.filter_map(|piece| open.get(piece)));
    }
    taken
}

/// Whether a long word, of base64 for example, has a long piece of a row.
fn has_in_common(word: &[u8], rows: &[&[u8]]) -> bool {
    let repeats = |piece| rows.iter().any(|row| memmem::find(row, piece).is_some());
    let mut pieces = word.chunks_exact(COMMON_BYTES / 2);
    word.len() >= COMMON_BYTES && pieces.any(repeats)
}

/// Runs of letters and digits of any script. What stands behind a backslash belongs to it.
fn words(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let byte = text.get(at)?;
            if is_letter(byte) {
                break;
            }
            let backslashes = text.iter().skip(at).take_while(|byte| **byte == b'\\').count();
            at += 1 + backslashes;
        }
        let length = text.iter().skip(at).take_while(|byte| is_letter(byte)).count();
        let word = at..at + length;
        at = word.end;
        Some(word)
    })
}

fn lower(text: &[u8], word: Range<usize>) -> Vec<u8> {
    text.get(word).unwrap_or_default().to_ascii_lowercase()
}

fn first_two(word: &[u8]) -> [u8; 2] {
    [0, 1].map(|at| word.get(at).map_or(0, u8::to_ascii_lowercase))
}

/// Text in which `\u00e9` is the character: some endpoints write JSON so.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(4).unwrap_or((part, ""));
        match u32::from_str_radix(code, 16).ok().and_then(char::from_u32) {
            Some(character) => plain.extend([character.to_string().as_str(), rest]),
            None => plain.extend(["\\u", part]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"e1","data":{"before":null,"after":{"id":7,"name":"Ada Lovelace, Countess","note":"line one\nline two","mail":"ada@example.com","city":"Zoë + café","doc":"{\"key\": \"inner value\"}","bytes":"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNE"},"source":{"version":"0.1.0","table":"orders"}}}"#;

    fn shown(answer: &str) -> String {
        let names = ["public", "orders", "id", "name", "note", "mail", "city", "doc", "bytes"];
        without_rows(answer, EVENT.as_bytes(), &names)
    }

    #[test]
    fn what_an_endpoint_says_itself_stays() {
        for answer in [
            "no such topic",
            "out of order",
            "at most 1 MB, version 0.1",
            "unknown field \"name\" in table orders",
            "column `mail` must not be null",
            "quota exceeded (code 1429), try again in 30 s",
            "",
        ] {
            assert_eq!(shown(answer), answer);
        }
    }

    #[test]
    fn words_of_the_row_are_left_out_and_the_cause_stays() {
        for (answer, expected) in [
            (
                "cannot read {\"name\":\"Ada Lovelace, Countess\"}: too old",
                "cannot read {\"name\":\"…\"}: too old",
            ),
            ("customer ADA is blocked", "customer … is blocked"),
            ("bad name: Ada Lovel", "bad name: …"),
            ("id 7 exists", "id … exists"),
            ("no mailbox ada@example.com here", "no mailbox … here"),
            ("cannot parse line two", "cannot parse …"),
            ("cannot parse 'line one\\nline two'", "cannot parse '…'"),
            ("no city Zo\\u00eb + caf\\u00e9", "no city …"),
            ("key not expected: inner value", "… not expected: …"),
            ("cannot decode xxNTU5PUFFSU1RVVldYWVpBQkNE", "cannot decode …"),
            ("\\u", "\\u"),
            ("\\", "\\"),
        ] {
            assert_eq!(shown(answer), expected, "{answer}");
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random.usize(..40))
                .map(|_| random.choice(*b"\\u0a \"\xc3\xa9x").unwrap())
                .collect();
            let text = String::from_utf8_lossy(&bytes);
            let all: HashSet<_> =
                words(text.as_bytes()).map(|word| lower(text.as_bytes(), word)).collect();
            // A text repeats all of itself.
            let left = without_rows(&text, text.as_bytes(), &[]);
            let left = words(left.as_bytes()).map(|word| lower(left.as_bytes(), word));
            assert!(
                left.filter(|word| word != "…".as_bytes()).all(|word| !all.contains(&word)),
                "{text}"
            );
        }
    }
}
