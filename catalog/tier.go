package catalog

// Tier is a set of limits that applications share.
type Tier struct {
	Name   string                   // 1 to 256 bytes of UTF-8 without control characters
	Limits map[string]PartialLimits // by the endpoint's id; "*" is the catch-all's
}
