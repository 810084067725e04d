//go:build race

package testkit

// Race says that the race detector watches, under which everything takes several times as long.
const Race = true
