-- Inheritance, from several parents too, with rows in each.
-- at the source
CREATE SCHEMA inheritance;
CREATE TABLE inheritance.base (id int PRIMARY KEY, v text);
CREATE TABLE inheritance.derived (w text, PRIMARY KEY (id)) INHERITS (inheritance.base);
CREATE TABLE inheritance.other (x int DEFAULT 3);
CREATE TABLE inheritance.twice (PRIMARY KEY (id)) INHERITS (inheritance.derived, inheritance.other);
INSERT INTO inheritance.base SELECT i, 'b' FROM generate_series(1, 20) i;
INSERT INTO inheritance.derived SELECT i, 'd', 'w' FROM generate_series(1, 20) i;
INSERT INTO inheritance.twice SELECT i, 't', 'w' FROM generate_series(1, 20) i;
INSERT INTO inheritance.other VALUES (1), (1);
-- at the source
INSERT INTO inheritance.base SELECT i, 'b' FROM generate_series(21, 60) i;
UPDATE inheritance.base SET v = 'u' WHERE id < 5;
DELETE FROM ONLY inheritance.base WHERE id = 7;
DELETE FROM inheritance.derived WHERE id = 8;
UPDATE ONLY inheritance.base SET id = id + 100 WHERE id = 10;
INSERT INTO inheritance.twice VALUES (99, 'n', 'n');
TRUNCATE ONLY inheritance.derived;
INSERT INTO inheritance.derived VALUES (1, 'after', 'truncate');
DELETE FROM ONLY inheritance.other WHERE ctid = (SELECT min(ctid) FROM ONLY inheritance.other);
