-- +goose Up
-- Who may sign in to the Developer Portal. Times are milliseconds since 1970-01-01T00:00:00Z.
CREATE TABLE accounts (
    email    TEXT PRIMARY KEY, -- in lower case
    operator INTEGER NOT NULL CHECK (operator IN (0, 1)),
    password TEXT NOT NULL, -- its hash; empty: none
    created  INTEGER NOT NULL,
    stamp    INTEGER NOT NULL -- of the sessions that hold
) WITHOUT ROWID;

CREATE TABLE grants (
    email       TEXT NOT NULL REFERENCES accounts (email) ON DELETE CASCADE,
    application TEXT NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('viewer', 'admin')),
    PRIMARY KEY (email, application)
) WITHOUT ROWID;
CREATE INDEX grants_application ON grants (application, email);

-- A session that was ended stays till it expires, so that a request that was under way does not begin it again.
CREATE TABLE sessions (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    hash    BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    email   TEXT NOT NULL REFERENCES accounts (email) ON DELETE CASCADE,
    data    BLOB NOT NULL,
    expires INTEGER NOT NULL,
    ended   INTEGER NOT NULL DEFAULT 0 CHECK (ended IN (0, 1))
);
CREATE INDEX sessions_email ON sessions (email, seq);
CREATE INDEX sessions_expires ON sessions (expires);
