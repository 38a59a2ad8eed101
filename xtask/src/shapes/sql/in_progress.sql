-- Transactions that are sent before their commit, with parts and wholes that are rolled back.
-- at the source
CREATE SCHEMA in_progress;
CREATE TABLE in_progress.t (id int PRIMARY KEY, v text);
INSERT INTO in_progress.t SELECT i, 'v' FROM generate_series(1, 100) i;
-- at the source
BEGIN; INSERT INTO in_progress.t SELECT i, repeat('kept', 20) FROM generate_series(101, 3000) i;
SAVEPOINT a; UPDATE in_progress.t SET v = 'never' WHERE id > 50; ROLLBACK TO a;
SAVEPOINT b; INSERT INTO in_progress.t SELECT i, repeat('kept too', 20) FROM generate_series(3001, 6000) i; RELEASE b; COMMIT;
BEGIN; INSERT INTO in_progress.t SELECT i, 'never' FROM generate_series(7000, 12000) i; DELETE FROM in_progress.t WHERE id < 50; ROLLBACK;
UPDATE in_progress.t SET v = 'u' WHERE id < 10;
