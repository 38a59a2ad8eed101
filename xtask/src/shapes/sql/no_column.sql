-- Tables without a column, with none left, with generated ones only.
-- at the source
CREATE SCHEMA no_column;
CREATE TABLE no_column.never ();
CREATE TABLE no_column.dropped (a int);
CREATE TABLE no_column.generated (g int GENERATED ALWAYS AS (1) STORED);
CREATE TABLE no_column.empty (id int PRIMARY KEY);
INSERT INTO no_column.never SELECT FROM generate_series(1, 5);
INSERT INTO no_column.dropped SELECT i FROM generate_series(1, 5) i;
ALTER TABLE no_column.dropped DROP COLUMN a;
INSERT INTO no_column.generated SELECT FROM generate_series(1, 5);
-- at the source
INSERT INTO no_column.never SELECT FROM generate_series(1, 40);
DELETE FROM no_column.never WHERE ctid = (SELECT min(ctid) FROM no_column.never);
INSERT INTO no_column.dropped DEFAULT VALUES;
INSERT INTO no_column.generated SELECT FROM generate_series(1, 3);
DELETE FROM no_column.generated WHERE ctid = (SELECT min(ctid) FROM no_column.generated);
