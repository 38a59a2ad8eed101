-- A database in SQL_ASCII whose bytes are not UTF-8, which no UTF8 database takes.
-- at the source
CREATE SCHEMA not_utf8;
CREATE TABLE not_utf8.t (id int PRIMARY KEY, v text);
INSERT INTO not_utf8.t VALUES (1, 'good'), (2, E'bad \xff');
