-- Names that need quotes, that are words of SQL, Unicode, and as long as they can be.
-- at the source
CREATE SCHEMA names;
CREATE SCHEMA "names ""Quoted"" é";
CREATE SCHEMA "names select";
CREATE TABLE "names ""Quoted"" é"."Table; DROP" ("Id" int PRIMARY KEY, "user" text, "a""b" text, "$1" int, "ctid " text, "percent%s" text, "back\slash" text, " " int, "compared row" int);
CREATE TABLE "names select"."table" ("group" int, "order" int, "ünï" text, PRIMARY KEY ("group"));
CREATE TABLE names."UPPER" ("ID" int PRIMARY KEY, id int, "Id" text);
CREATE TABLE names.upper (id int PRIMARY KEY);
CREATE TABLE names."a.b" ("c.d" int PRIMARY KEY, "'q'" int);
CREATE TABLE names."日本語" ("キー" int PRIMARY KEY, "🐘" text);
CREATE TABLE names.sixty_three_bytes_long_so_that_no_more_fits_into_one_name_______ (sixty_three_bytes_long_so_that_no_more_fits_into_one_name_______ int PRIMARY KEY, v text);
CREATE TABLE names."ééééééééééééééééééééééééééééééé" (id int PRIMARY KEY);
CREATE TYPE names."Type ""x""" AS ENUM ('a "b"', 'C');
CREATE TABLE names.typed (id int PRIMARY KEY, "Type" names."Type ""x""", "Types" names."Type ""x"""[]);
INSERT INTO "names ""Quoted"" é"."Table; DROP" SELECT i, 'u', 'ab', i, 'c', '%', '\', 1, 2 FROM generate_series(1, 20) i;
INSERT INTO "names select"."table" SELECT i, i, 'x' FROM generate_series(1, 20) i;
INSERT INTO names."UPPER" SELECT i, -i, 'x' FROM generate_series(1, 20) i;
INSERT INTO names.upper SELECT i FROM generate_series(1, 20) i;
INSERT INTO names."a.b" SELECT i, i FROM generate_series(1, 20) i;
INSERT INTO names."日本語" SELECT i, '象' FROM generate_series(1, 20) i;
INSERT INTO names.sixty_three_bytes_long_so_that_no_more_fits_into_one_name_______ SELECT i, 'v' FROM generate_series(1, 20) i;
INSERT INTO names."ééééééééééééééééééééééééééééééé" SELECT i FROM generate_series(1, 20) i;
INSERT INTO names.typed VALUES (1, 'a "b"', '{C,"a \"b\""}');
-- at the source
INSERT INTO "names ""Quoted"" é"."Table; DROP" SELECT i, 'u', 'ab', i, 'c', '%', '\', NULL, 4 FROM generate_series(21, 40) i;
UPDATE "names ""Quoted"" é"."Table; DROP" SET "user" = 'x', "$1" = NULL WHERE "Id" < 5;
UPDATE "names ""Quoted"" é"."Table; DROP" SET "Id" = -"Id" WHERE "Id" > 38;
DELETE FROM "names ""Quoted"" é"."Table; DROP" WHERE "Id" = 9;
UPDATE "names select"."table" SET "order" = -"order", "ünï" = 'y' WHERE "group" < 5;
DELETE FROM "names select"."table" WHERE "group" = 5;
UPDATE names."UPPER" SET id = 7, "Id" = 'y' WHERE "ID" < 5;
INSERT INTO names.upper VALUES (100);
UPDATE names."a.b" SET "'q'" = -1 WHERE "c.d" = 1;
UPDATE names."日本語" SET "🐘" = '🐘🐘' WHERE "キー" = 3;
UPDATE names.sixty_three_bytes_long_so_that_no_more_fits_into_one_name_______ SET v = 'u' WHERE sixty_three_bytes_long_so_that_no_more_fits_into_one_name_______ = 3;
TRUNCATE names."ééééééééééééééééééééééééééééééé";
INSERT INTO names."ééééééééééééééééééééééééééééééé" VALUES (7);
INSERT INTO names.typed VALUES (2, 'C', '{}');
