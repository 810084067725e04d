package registry

import (
	"context"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

// Runtime is the part of a [Registry] that changes the catalog at run time, and tells what was changed so.
type Runtime interface {
	// Edit makes one change to what was made at run time, and returns what that changes in what holds. [fault.Invalid] where what would
	// hold makes no sense; [fault.NotFound] where something named is not there; [fault.Conflict] where it belongs to the file. Then
	// nothing is changed, nor is anything in a dry run. [ErrOvertaken], with what it would change now, where it does not change what was
	// expected; one that is made already changes nothing, and is no error. It reads the whole catalog and validates it: a second and a half for a hundred thousand applications, in which other changes
	// wait; for a dry run, they wait for a part of that only.
	Edit(context.Context, Edit, EditOptions) (Edited, error)
	// Origins tells where items of one kind come from, in the order of ids, of which there are at most [MaxOrigins]; for an item that is
	// not there, nothing is told.
	Origins(ctx context.Context, noun Noun, ids []string) ([]Origin, error)
	// Overrides returns up to limit overrides that were made at run time, 1 to [MaxOverrides], in the order of application and endpoint, of
	// those that follow after; the zero value begins with the first. Those whose application or endpoint is gone, and which wait for it,
	// are among them.
	Overrides(ctx context.Context, after OverrideName, limit int) ([]Override, error)
}

const (
	// MaxOrigins is the most ids that [Runtime.Origins] takes at a time.
	MaxOrigins = 1000
	// MaxOverrides is the most overrides that [Runtime.Overrides] returns at a time.
	MaxOverrides = 1000
	// MaxTouched is how many limits an [Edited] names.
	MaxTouched = 100
)

// Edit is a change of what was made at run time: one of [PutEndpoint], [PutTier], [PutApplication], [Remove], [Revert],
// [PutOverride] and [ClearOverride]. Making one twice is as making it once, but for [Remove], [Revert] and [ClearOverride], which find nothing the
// second time.
type Edit interface{ edit() }

// PutEndpoint sets what it tells of an endpoint, and adds the endpoint where there is none. What was set goes before the file's, and stays until
// it is reverted. An endpoint that was added lies under the file's.
type PutEndpoint struct {
	ID string
	// Match is the pattern, as in a catalog's file: needed to add an endpoint, and changed of one that was added. A file's cannot be.
	Match  string
	When   *catalog.Conditions // goes with Match: nil leaves it as it is, and is no conditions for an endpoint that is added
	Limits catalog.PartialLimits
	Cost   *int64
	Shadow *bool
}

// PutTier sets those limits of a tier that it tells, and adds the tier where there is none. A limit of a tier for an endpoint that
// goes away waits for it to come back.
type PutTier struct {
	Name   string
	Limits map[string]catalog.PartialLimits // by endpoints' ids
}

// PutApplication sets what it tells of an application, and adds the application where there is none.
type PutApplication struct {
	ID        string
	Name      *string
	Tier      *string // "" for none
	Shadow    *bool
	Suspended *bool
}

// PutOverride is [Registry.SetOverride].
type PutOverride struct {
	Application, Endpoint string
	Limits                catalog.PartialLimits
}

// ClearOverride is [Registry.ClearOverride].
type ClearOverride struct{ Application, Endpoint string }

// Remove takes away what was added at run time, and what was set of it there, unless the file has it too. Tokens of an application that
// is gone then are revoked.
type Remove struct {
	Noun Noun
	ID   string
}

// Revert takes back what was set at run time of an item, so that what lies under it holds again: the file's, or what the item
// was added with.
type Revert struct {
	Noun  Noun
	ID    string
	Field string // what of it, as in [Amendment.Field]; of a tier an endpoint's id, or that and a kind of limit; "" for all
}

func (PutEndpoint) edit()    {}
func (PutTier) edit()        {}
func (PutApplication) edit() {}
func (PutOverride) edit()    {}
func (ClearOverride) edit()  {}
func (Remove) edit()         {}
func (Revert) edit()         {}

// Noun is a kind of item in the catalog.
type Noun string

// The nouns.
const (
	Endpoint    Noun = "endpoint"
	Tier        Noun = "tier"
	Application Noun = "application"
)

// EditOptions says for whom an edit is made.
type EditOptions struct {
	Actor  string // who makes it, for the audit
	DryRun bool   // only say what would change
	// Expect is the [Edited.Digest] of a dry run that was looked at: the edit is made only if it still changes the same, or is made already. Empty:
	// whatever it changes.
	Expect string
}

// ErrOvertaken is the error of an edit that does not change what was expected of it.
var ErrOvertaken = fault.New(fault.Conflict, "This would not change what was expected: the catalog was changed in the meantime, or another edit was looked at. Look at what it would change now.")

// Edited is what an edit changes in what holds.
type Edited struct {
	// Changes are those in what holds, and then what is lost with an application that leaves the catalog: "- application acme tokens 3".
	Changes []catalog.Change
	Touched catalog.Touched // whose limits that changes; it names at most [MaxTouched]
	// Digest names all that is changed, also the limits that Touched does not name: two edits that change the same have the same.
	Digest string
}

// Origin says where an item of the catalog comes from.
type Origin struct {
	File    bool        // the file has it
	Added   bool        // it was added at run time; where the file has it too, the file's holds
	Amended []Amendment // what was set of it at run time
}

// Amendment is something that was set at run time of an item.
type Amendment struct {
	Field string // "member"; of a tier "posts.create member"
	Value string // what was set: "200", "unlimited", "true"
	Under string // what holds without it; "" where nothing does
}

// OverrideName names an override.
type OverrideName struct{ Application, Endpoint string }

// Override is one that was made at run time.
type Override struct {
	OverrideName
	Limits catalog.PartialLimits
}
