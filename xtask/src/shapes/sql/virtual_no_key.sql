-- Columns that are computed when they are read, in a table without a key: the server would refuse every UPDATE and DELETE.
-- at the source
CREATE SCHEMA virtual_no_key;
CREATE TABLE virtual_no_key.t (a int, b int GENERATED ALWAYS AS (-a) VIRTUAL);
INSERT INTO virtual_no_key.t SELECT 1 FROM generate_series(1, 5);
