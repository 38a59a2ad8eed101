//! Whether `money` means the same at both ends: a value is a number of hundredths, or of whatever `lc_monetary` of the database says.

use stream_core::Error;
use stream_core::postgres::{ConnectOptions, SqlClient, problem};
use stream_core::relation::TableName;
use stream_core::source::Inspected;
use stream_core::sql::{Ident, Literal};
use stream_core::types::Types;

use super::error::from_sql;
use super::fit::{Base, MONEY};

/// What an amount is made of, how it is written, and under which setting of which database.
const OWN: &str = "SELECT encode(cash_send(123456::money), 'hex'), 123456::money::text, \
                   current_setting('lc_monetary'), current_database()::text";
/// What a text of the other end is taken for.
const READ: &str = "SELECT encode(cash_send($1::text::money), 'hex')";

/// What a database takes for money.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Money {
    amount: String,
    text: String,
    locale: String,
    database: String,
}

/// Captured columns of money that would have other values at the target.
pub(super) async fn problems(
    client: &SqlClient,
    source: &ConnectOptions,
    inspected: &Inspected,
) -> Result<Option<String>, Error> {
    let columns = columns(inspected);
    if columns.is_empty() {
        return Ok(None);
    }
    let session = SqlClient::connect(source).await;
    let session = session.map_err(|error| problem::from_connect(error).context("source"))?;
    let there = read(&session).await;
    session.close().await;
    let (there, here) = (there?, read(client).await?);
    let taken_for = match client.query_one(READ, &[&there.text]).await {
        Ok(row) => Some(row.get(0)),
        // Where values come as text, it refuses them then.
        Err(error) if error.code().is_some_and(|code| code.code() == "22P02") => None,
        Err(error) => return Err(from_sql("read money", &error)),
    };
    let differs = differs(&there.amount, &here.amount, taken_for);
    Ok(differs.then(|| other_money(&columns, &there, &here)))
}

/// Whether an amount would be another at the target: its binary form, or its text as it is `taken_for` there.
fn differs(there: &str, here: &str, taken_for: Option<String>) -> bool {
    there != here || taken_for.is_some_and(|amount| amount != there)
}

async fn read(client: &SqlClient) -> Result<Money, Error> {
    let row = client.query_one(OWN, &[]).await;
    let row = row.map_err(|error| from_sql("ask what money is", &error))?;
    Ok(Money { amount: row.get(0), text: row.get(1), locale: row.get(2), database: row.get(3) })
}

/// The captured columns of money, also in arrays and domains.
fn columns(source: &Inspected) -> Vec<(&TableName, &str)> {
    let columns = source.tables.iter().flat_map(|table| {
        let columns = table.columns.iter();
        let of_money = columns.filter(|column| is_money(&source.types, column.type_oid));
        of_money.map(|column| (&table.name, column.name.as_str()))
    });
    columns.collect()
}

fn is_money(types: &Types, oid: u32) -> bool {
    Base::at_source(types, oid, -1).is_some_and(|base| base.oid == MONEY)
}

/// Columns have type `money`, whose values have their point where the database's `lc_monetary` says, and source and target differ in that: 12.34
/// would arrive as 1,234. Nothing was written.
///
/// Remedy: run the statement of the message at the target, if no other values of type `money` are there, and start the stream again; or make the
/// columns `numeric` at the source, or exclude them.
fn other_money(columns: &[(&TableName, &str)], there: &Money, here: &Money) -> String {
    let columns: Vec<_> =
        columns.iter().map(|(table, column)| format!("`{table}.{column}`")).collect();
    format!(
        "money is counted otherwise at the target (`lc_monetary` `{}`) than at the source (`{}`), so that values of {} would change: run `ALTER DATABASE {} SET lc_monetary = {}` at the target, or exclude them",
        here.locale,
        there.locale,
        columns.join(", "),
        Ident(&here.database),
        Literal(&there.locale)
    )
}

#[cfg(test)]
mod tests {
    use stream_core::lsn::Lsn;
    use stream_core::types::{Type, TypeKind};

    use super::*;

    #[test]
    fn money_is_found_in_arrays_and_domains() {
        let of = |name: &str, kind| Type { name: name.to_owned(), kind };
        let by_oid = [
            (20_001, of("price", TypeKind::Domain { base: 790, modifier: -1 })),
            (20_002, of("_price", TypeKind::Array { element: 20_001, delimiter: b',' })),
            (20_003, of("prices", TypeKind::Domain { base: 791, modifier: -1 })),
            (20_004, of("label", TypeKind::Domain { base: 25, modifier: -1 })),
            (20_005, of("mood", TypeKind::Enum)),
        ];
        let types = Types { by_oid: by_oid.into(), as_of: Lsn::default() };
        for (oid, expected) in [
            (790, true),
            (791, true),
            (20_001, true),
            (20_002, true),
            (20_003, true),
            (20_004, false),
            (20_005, false),
            (1700, false),
        ] {
            assert_eq!(is_money(&types, oid), expected, "{oid}");
        }
    }

    #[test]
    fn an_amount_that_would_be_another_at_the_target_is_seen() {
        let (dollars, yen) = ("0000000000bc6100", "000000000001e240");
        let taken_for = |amount: &str| Some(amount.to_owned());
        assert!(!differs(dollars, dollars, taken_for(dollars)));
        // Refused as text: what comes so is not taken for anything else.
        assert!(!differs(dollars, dollars, None));
        assert!(differs(dollars, yen, None));
        assert!(differs(dollars, dollars, taken_for("000000000000303a")));
    }

    #[test]
    fn columns_and_remedy_are_named() {
        let money = |locale: &str| Money {
            amount: String::new(),
            text: String::new(),
            locale: locale.to_owned(),
            database: "shop".to_owned(),
        };
        let table = TableName::new("public", "orders");
        let told = other_money(&[(&table, "price")], &money("en_US"), &money("ja_JP"));
        assert!(told.contains("`public.orders.price`"), "{told}");
        let sql = "`ALTER DATABASE \"shop\" SET lc_monetary = 'en_US'` at the target";
        assert!(told.contains(sql), "{told}");
    }
}
