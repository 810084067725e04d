-- +goose Up
-- Endpoints, tiers and applications that were added at run time. They lie under the layer that a file brought, and are never removed by one.
CREATE TABLE added (
    kind     TEXT NOT NULL CHECK (kind IN ('endpoint', 'tier', 'application')),
    id       TEXT NOT NULL,
    document TEXT NOT NULL,    -- as in catalog_items
    met      INTEGER NOT NULL, -- 1: an application that was first met in a token, which are bounded; 0: anything that an operator added
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
INSERT INTO added (kind, id, document, met) SELECT 'application', id, json_object('tier', tier), 1 FROM applications;
DROP TABLE applications;

-- What was set at run time of items that a file brought or that were added, one JSON document an item with what was set alone. Amendments lie
-- over both layers, and outlive what they name, so they refer to nothing.
CREATE TABLE amendments (
    kind     TEXT NOT NULL CHECK (kind IN ('endpoint', 'tier', 'application')),
    id       TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
