-- Rows of 100 to 500 MB.
-- at the source
CREATE SCHEMA large;
CREATE TABLE large.t (id int PRIMARY KEY, t text, b bytea, n int);
ALTER TABLE large.t ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
INSERT INTO large.t VALUES (1, repeat('0123456789abcdef', 6250000), NULL, 1);
INSERT INTO large.t VALUES (2, NULL, decode(repeat('00ff5c', 66000000), 'hex'), 1);
INSERT INTO large.t VALUES (3, repeat('0123456789abcdef', 31250000), NULL, 1);
-- at the source
INSERT INTO large.t VALUES (4, repeat('fedcba9876543210', 31250000), NULL, 1);
UPDATE large.t SET n = 2 WHERE id = 3;
UPDATE large.t SET t = repeat('x', 300000000) WHERE id = 2;
UPDATE large.t SET id = 10 WHERE id = 1;
DELETE FROM large.t WHERE id = 2;
