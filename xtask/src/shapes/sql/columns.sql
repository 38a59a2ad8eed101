-- Columns dropped and added before the snapshot and in the stream.
-- at the source
CREATE SCHEMA columns;
CREATE TABLE columns.t (gone int, id int, v text, gone2 text, w int DEFAULT 7, PRIMARY KEY (id));
INSERT INTO columns.t SELECT 1, i, 'v', 'gone', i FROM generate_series(1, 20) i;
ALTER TABLE columns.t DROP COLUMN gone, DROP COLUMN gone2, ADD COLUMN fast int DEFAULT 42, ADD COLUMN gone3 int;
ALTER TABLE columns.t DROP COLUMN gone3, ADD COLUMN late text DEFAULT 'late' NOT NULL;
CREATE TABLE columns.key_moves (a int, b int, c int, PRIMARY KEY (c, a));
INSERT INTO columns.key_moves SELECT i, i, i FROM generate_series(1, 20) i;
CREATE TABLE columns.renamed (id int PRIMARY KEY, old_name text);
INSERT INTO columns.renamed SELECT i, 'old' FROM generate_series(1, 20) i;
CREATE TABLE columns.typed (id int PRIMARY KEY, n int);
INSERT INTO columns.typed SELECT i, i FROM generate_series(1, 20) i;
-- at the source
INSERT INTO columns.t (id, v) SELECT i, 'w' FROM generate_series(21, 40) i;
UPDATE columns.t SET fast = 1, late = 'x' WHERE id < 5;
-- at the target
ALTER TABLE columns.t ADD COLUMN added int, ADD COLUMN filled text DEFAULT 'filled';
ALTER TABLE columns.renamed RENAME old_name TO new_name;
ALTER TABLE columns.typed ALTER n TYPE int8;
-- at the source
ALTER TABLE columns.t ADD COLUMN added int, ADD COLUMN filled text DEFAULT 'filled';
INSERT INTO columns.t (id, v, added, filled) SELECT i, 'x', i, NULL FROM generate_series(41, 60) i;
UPDATE columns.t SET added = 9 WHERE id < 30;
ALTER TABLE columns.renamed RENAME old_name TO new_name;
UPDATE columns.renamed SET new_name = 'new' WHERE id < 5;
ALTER TABLE columns.typed ALTER n TYPE int8;
INSERT INTO columns.typed VALUES (100, 9223372036854775807);
UPDATE columns.typed SET n = -n WHERE id < 5;
-- at the source
ALTER TABLE columns.t DROP COLUMN w;
INSERT INTO columns.t (id, v) VALUES (61, 'without w');
UPDATE columns.t SET v = 'u' WHERE id > 55;
UPDATE columns.t SET id = id + 1000 WHERE id < 3;
-- at the target
ALTER TABLE columns.t DROP COLUMN w;
-- at the source
DELETE FROM columns.t WHERE id = 30;
INSERT INTO columns.key_moves VALUES (21, 1, 1);
UPDATE columns.key_moves SET a = -a WHERE c = 3;
UPDATE columns.key_moves SET b = 0 WHERE c = 4;
DELETE FROM columns.key_moves WHERE c = 5;
