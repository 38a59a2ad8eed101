-- A database in SQL_ASCII whose bytes are UTF-8.
-- at the source
CREATE SCHEMA sql_ascii;
CREATE TABLE sql_ascii.t (k text PRIMARY KEY, v text, n name, j json, jb jsonb, l text[]);
INSERT INTO sql_ascii.t SELECT 'ö' || i, 'naïve ü€𝄞', 'ñ', '"ü"', '{"a": "é"}', '{é,NULL}' FROM generate_series(1, 20) i;
-- at the source
INSERT INTO sql_ascii.t SELECT 'ß' || i, 'é', NULL, NULL, NULL, NULL FROM generate_series(1, 40) i;
UPDATE sql_ascii.t SET v = 'æ' WHERE k LIKE 'ö1%';
UPDATE sql_ascii.t SET k = 'Ü' || k WHERE k LIKE 'ß2%';
DELETE FROM sql_ascii.t WHERE k = 'ö5';
