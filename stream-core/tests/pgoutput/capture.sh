#!/bin/sh
# Captures the .hex files beside it: a position and a message per line, as PostgreSQL sent them.
#
# Needs psql, its PG* variables, and a PostgreSQL 15 or later started for this alone with wal_level=logical,
# max_prepared_transactions=5 and logical_decoding_work_mem=64kB. Makes the database `capture`.
# The .txt files are the same messages as tests/pgoutput.rs prints them; check the new ones by eye.
set -eu
cd "$(dirname "$0")"
psql="psql -X -q -A -t -F , -v ON_ERROR_STOP=1"
$psql -d postgres -c 'create database capture'
psql="$psql -d capture"

# capture SLOT FILE PUBLICATION OPTIONS
capture() {
    $psql -o "$2" -c "select lsn, encode(data, 'hex') from pg_logical_slot_peek_binary_changes(
        '$1', null, null, 'publication_names', '$3', 'messages', 'true', $4)"
}

$psql > /dev/null <<'SQL'
create type mood as enum ('sad', 'ok', 'happy');
create schema "Odd ""schema";
create table item (id int primary key, name text, price numeric(10, 2), feeling mood, tags text[],
    at timestamptz, note text);
alter table item alter note set storage external;
create table parent (id int primary key);
create table child (id int primary key, parent int references parent);
create table whole (a int, b text);
alter table whole replica identity full;
create table "Odd ""schema"."Tä ble" (k text not null, v bytea);
create unique index k on "Odd ""schema"."Tä ble" (k);
alter table "Odd ""schema"."Tä ble" replica identity using index k;
create table silent (a int);
alter table silent replica identity nothing;
-- `filler` is not published: it makes transactions large enough to stream and the capture small.
create table bulk (id int primary key, feeling mood default 'ok', filler text);
alter table bulk alter filler set storage plain;
create publication all_tables for all tables;
create publication some_tables for table bulk (id, feeling), table whole;
select pg_create_logical_replication_slot('whole', 'pgoutput');
select pg_replication_origin_create('elsewhere');
set timezone = 'UTC';
-- Rows of all kinds.
begin;
insert into item values
    (1, 'one', 1.50, 'ok', '{a,"b c"}', '2024-02-29 12:34:56.789+00', repeat('x', 3000)),
    (2, null, null, null, null, null, null);
update item set price = 2 where id = 1;
update item set id = 3 where id = 2;
delete from item where id = 3;
insert into whole values (1, 'a'), (2, null);
update whole set b = 'z' where a = 1;
delete from whole where a = 2;
insert into "Odd ""schema"."Tä ble" values ('clé', '\x00ff');
update "Odd ""schema"."Tä ble" set k = 'key', v = null;
delete from "Odd ""schema"."Tä ble";
insert into silent values (0);
commit;
-- A table that changes within a transaction.
begin;
insert into item (id) values (10);
alter table item add column extra int default 7;
insert into item (id) values (11);
alter table item drop column tags;
insert into item (id) values (12);
commit;
-- Truncates.
begin;
insert into parent values (1);
insert into child values (1, 1);
truncate parent, whole restart identity cascade;
commit;
truncate child;
-- Messages.
select pg_logical_emit_message(false, 'outside', 'not in a transaction');
begin;
insert into whole values (5, 'five');
select pg_logical_emit_message(true, 'inside', '\x0001'::bytea);
commit;
-- An origin.
select pg_replication_origin_session_setup('elsewhere');
begin;
select pg_replication_origin_xact_setup('0/ABCDEF', '2020-01-02 03:04:05+00');
insert into parent values (9);
commit;
select pg_replication_origin_session_reset();
SQL
capture whole text.hex all_tables "'proto_version', '1'"
capture whole binary.hex all_tables "'proto_version', '1', 'binary', 'true'"

$psql > /dev/null <<'SQL'
select pg_create_logical_replication_slot('streamed', 'pgoutput');
select pg_create_logical_replication_slot('prepared', 'pgoutput', false, true);
begin;
insert into bulk select i, 'sad', repeat('f', 5000) from generate_series(1, 15) i;
savepoint a;
insert into bulk select i, 'ok', repeat('g', 5000) from generate_series(101, 115) i;
rollback to a;
select pg_logical_emit_message(true, 'streamed', 'hello');
update bulk set id = -id where id = 7;
update bulk set feeling = 'happy' where id = 8;
delete from bulk where id = 9;
insert into whole values (6, 'six');
truncate whole;
insert into bulk select i, null, repeat('i', 5000) from generate_series(201, 215) i;
commit;
SQL
capture streamed streamed.hex some_tables "'proto_version', '2', 'streaming', 'true'"

$psql > /dev/null <<'SQL'
select pg_replication_slot_advance('prepared', pg_current_wal_lsn());
begin;
insert into whole values (7, 'seven');
prepare transaction 'seven';
commit prepared 'seven';
begin;
insert into whole values (8, 'eight');
prepare transaction 'eight';
rollback prepared 'eight';
begin;
insert into bulk select i, 'ok', repeat('p', 5000) from generate_series(301, 315) i;
prepare transaction 'large';
commit prepared 'large';
SQL
capture prepared prepared.hex some_tables \
    "'proto_version', '3', 'streaming', 'true', 'two_phase', 'true'"
