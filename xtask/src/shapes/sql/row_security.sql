-- Tables with row security, copied whole by a role that sees all rows; the policies come over.
-- at the source
CREATE SCHEMA row_security;
CREATE TABLE row_security.t (id int PRIMARY KEY, owner text);
INSERT INTO row_security.t SELECT i, CASE WHEN i % 2 = 0 THEN 'me' ELSE 'you' END FROM generate_series(1, 20) i;
ALTER TABLE row_security.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON row_security.t USING (owner = 'me');
-- at the source
INSERT INTO row_security.t VALUES (21, 'you'), (22, 'me');
UPDATE row_security.t SET owner = 'she' WHERE id = 1;
DELETE FROM row_security.t WHERE id = 3;
-- the target holds
SELECT count(*) = 1 FROM pg_policies WHERE schemaname = 'row_security' AND tablename = 't'
