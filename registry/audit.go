package registry

import "time"

// AuditEntry is one change: who made it, to what, and what it was before and after. It names no member. An edit of the catalog ([Runtime.Edit])
// has an entry for each change that it makes in what holds, as "endpoint posts.create member", 150, 200; one where it makes none, and lies in wait.
// So has an applied file, up to [MaxAuditOfChange].
type AuditEntry struct {
	Seq     int64     // rises with each entry
	At      time.Time // to the millisecond
	Actor   string    // who: an account's email, [KeyName], another word; empty: perdiem itself
	Action  string    // one of the Action constants
	Subject string    // what was changed: "override acme posts.create", "token tok_…"
	Before  string    // what it was; empty where it did not exist, or is not for the audit
	After   string    // what it is; the same
}

// KeyName names the operator's key in the audit by its hash, in hexadecimal digits, which tells nothing of the key: "operator key 3f9a1c2b".
func KeyName(hash string) string { return "operator key " + hash[:min(8, len(hash))] }

// Actors of the audit that are no accounts, and stand for whoever comes from outside.
const (
	ActorIssuer = "oidc"  // the word of an OpenID Connect issuer, when somebody signs in
	ActorToken  = "token" // a valid token, when an application is met that was not known
)

// How many entries the audit keeps. Each new one makes room for itself among those of the same share, so that nobody pushes out what others did:
//
//   - Operators, commands and perdiem itself share the newest MaxAudit. A hundred changes a day fill that in three years, and some 30 MB.
//   - An actor that is the email of an account, and no operator's, is a developer, of whom the newest MaxAuditOfDeveloper are kept. Callers
//     need not say so: the registry looks the account up.
//   - [ActorIssuer] and [ActorToken] have MaxAudit each.
const (
	MaxAudit            = 100_000
	MaxAuditOfDeveloper = 1000
	// MaxAuditOfChange is how many entries one change adds: of a file that changes more, the last entry says how many more.
	MaxAuditOfChange = 1000
)

// The actions in the audit.
const (
	ActionApply         = "catalog.apply"
	ActionAdd           = "application.add"
	ActionPut           = "put"    // an endpoint, a tier or an application was added, or something was set of it
	ActionRemove        = "remove" // what was added was taken away
	ActionRevert        = "revert" // what was set was taken back
	ActionSetOverride   = "override.set"
	ActionClearOverride = "override.clear"
	ActionIssueToken    = "token.issue"
	ActionRevokeToken   = "token.revoke"
	ActionSetSetting    = "setting.set"
	ActionRotateKey     = "key.rotate" // the operator's key was made, replaced or forgotten

	ActionAddAccount    = "account.add"
	ActionSetPassword   = "account.password"
	ActionSetOperator   = "account.operator"
	ActionLinkAccount   = "account.link"
	ActionRemoveAccount = "account.remove"
	ActionEndSessions   = "account.signout"
	ActionGrant         = "grant.set"
	ActionWithdraw      = "grant.withdraw"

	ActionSetAlerts = "alerts.set"
)
