package adminapi

import (
	"slices"
	"strings"
)

// pageInput is what asks for a page of items that have names, in their order.
type pageInput struct {
	Search string `query:"search" maxLength:"256" doc:"Only those whose id or name contains this, without regard to case."`
	After  string `query:"after" maxLength:"256" doc:"Where to go on: what an earlier answer told as next; left out: at the first."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many are told at most."`
}

// page returns the part of all, which is in the order of ids, that is asked for, and where to go on: "" where nothing follows. text is what
// an item's search looks through.
func page[T any](all []T, in pageInput, id func(T) string, text func(T) []string) (part []T, next string) {
	start := 0
	if in.After != "" {
		var found bool
		if start, found = slices.BinarySearchFunc(all, in.After, func(item T, after string) int { return strings.Compare(id(item), after) }); found {
			start++
		}
	}
	search := strings.ToLower(in.Search)
	for _, item := range all[start:] {
		if search != "" && !slices.ContainsFunc(text(item), func(s string) bool { return strings.Contains(strings.ToLower(s), search) }) {
			continue
		}
		if len(part) == in.Limit {
			return part, id(part[len(part)-1])
		}
		part = append(part, item)
	}
	return part, ""
}

// idsOf returns the ids of items.
func idsOf[T any](items []T, id func(T) string) []string {
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = id(item)
	}
	return ids
}
