-- Tables for `events-stream.yaml`.
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, total numeric(10, 2), placed timestamptz NOT NULL DEFAULT now());
CREATE TABLE order_items (order_id bigint REFERENCES orders ON DELETE CASCADE, line int, article text NOT NULL, PRIMARY KEY (order_id, line));
INSERT INTO orders (customer, total) VALUES ('Ada', 12.50), ('Grace', 99.00);
INSERT INTO order_items VALUES (1, 1, 'loom'), (2, 1, 'clock'), (2, 2, 'wire');
