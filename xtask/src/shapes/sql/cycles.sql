-- Foreign keys in cycles and to the own table.
-- at the source
CREATE SCHEMA cycles;
CREATE TABLE cycles.a (id int PRIMARY KEY, b int);
CREATE TABLE cycles.b (id int PRIMARY KEY, c int);
CREATE TABLE cycles.c (id int PRIMARY KEY, a int REFERENCES cycles.a DEFERRABLE);
ALTER TABLE cycles.a ADD FOREIGN KEY (b) REFERENCES cycles.b DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE cycles.b ADD FOREIGN KEY (c) REFERENCES cycles.c;
CREATE TABLE cycles.own (id int PRIMARY KEY, boss int REFERENCES cycles.own ON DELETE SET NULL);
INSERT INTO cycles.a SELECT i FROM generate_series(1, 20) i;
INSERT INTO cycles.c SELECT i, i FROM generate_series(1, 20) i;
INSERT INTO cycles.b SELECT i, i FROM generate_series(1, 20) i;
UPDATE cycles.a SET b = 21 - id;
INSERT INTO cycles.own SELECT i, nullif(i - 1, 0) FROM generate_series(1, 20) i;
-- at the source
BEGIN; INSERT INTO cycles.a VALUES (21, 21); INSERT INTO cycles.c VALUES (21, 21); INSERT INTO cycles.b VALUES (21, 21); COMMIT;
UPDATE cycles.a SET b = 1; DELETE FROM cycles.b WHERE id = 5; UPDATE cycles.own SET boss = 20 WHERE id = 1; DELETE FROM cycles.own WHERE id = 10;
