-- Keys under collations that take different texts for equal.
-- at the source
CREATE SCHEMA collations;
CREATE COLLATION collations.folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE collations.t (k text COLLATE collations.folding PRIMARY KEY, v text COLLATE "C");
CREATE TABLE collations.no_key (k text COLLATE collations.folding);
INSERT INTO collations.t SELECT 'Key' || i, 'v' FROM generate_series(1, 20) i;
INSERT INTO collations.no_key VALUES ('a'), ('A'), ('a');
-- at the source
UPDATE collations.t SET k = 'KEY1' WHERE k = 'key1';
UPDATE collations.t SET v = 'u' WHERE k = 'key2';
DELETE FROM collations.t WHERE k = 'KEY3';
INSERT INTO collations.t VALUES ('ß', 'x'), ('SS', 'y');
DELETE FROM collations.no_key WHERE k COLLATE "C" = 'A';
