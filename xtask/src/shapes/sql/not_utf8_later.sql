-- Bytes that are not UTF-8 come in the stream, from a database in SQL_ASCII.
-- at the source
CREATE SCHEMA not_utf8_later;
CREATE TABLE not_utf8_later.t (id int PRIMARY KEY, v text);
INSERT INTO not_utf8_later.t VALUES (1, 'good');
-- at the source
INSERT INTO not_utf8_later.t VALUES (2, E'bad \xff');
