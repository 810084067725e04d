package catalog

// MaxDisplayName is the length of the longest [Application.Name], in bytes.
const MaxDisplayName = 1024

// Application is a program that calls the API and has counters of its own.
type Application struct {
	ID        string                   // 1 to 256 bytes of UTF-8 without control characters
	Name      string                   // for people; may be empty
	Tier      string                   // the name of a [Tier]; "" for none
	Overrides map[string]PartialLimits // by the endpoint's id; go before the tier's
	Shadow    bool                     // refuse it nothing, as [Endpoint.Shadow], on every endpoint
	Suspended bool                     // may call nothing: 403
}
