-- +goose Up
-- When an application's own token was last used, roughly, in milliseconds since 1970-01-01T00:00:00Z.
ALTER TABLE tokens ADD COLUMN used INTEGER;
