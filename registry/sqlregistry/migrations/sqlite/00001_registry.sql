-- Times are milliseconds since 1970-01-01T00:00:00Z. NULL means never, or not told.

-- +goose Up
CREATE TABLE catalog_version (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL -- of what holds; 0 until a catalog is applied
);
INSERT INTO catalog_version (one, version) VALUES (1, 0);

-- The layer that a catalog's file brought, one JSON document an item.
CREATE TABLE catalog_items (
    kind     TEXT NOT NULL CHECK (kind IN ('endpoint', 'tier', 'application')),
    id       TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;

-- The layer over it: overrides made at run time. They outlive what they name, so they refer to nothing.
CREATE TABLE overrides (
    application       TEXT NOT NULL,
    endpoint          TEXT NOT NULL,
    application_limit INTEGER,
    member_limit      INTEGER,
    PRIMARY KEY (application, endpoint),
    CHECK (application_limit IS NOT NULL OR member_limit IS NOT NULL)
) WITHOUT ROWID;

CREATE TABLE tokens (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    hash        BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    application TEXT NOT NULL,
    member      TEXT NOT NULL, -- empty: the application's own
    created     INTEGER NOT NULL,
    expires     INTEGER,
    revoked     INTEGER
);
CREATE INDEX tokens_application ON tokens (application, seq);
CREATE INDEX tokens_expires ON tokens (expires) WHERE expires IS NOT NULL;

-- The order of revocations, for those who remember tokens. Numbers are never used twice.
CREATE TABLE revocations (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    token INTEGER NOT NULL UNIQUE REFERENCES tokens (seq) ON DELETE CASCADE
);

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    was     TEXT NOT NULL,
    became  TEXT NOT NULL
);
