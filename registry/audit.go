package registry

import "time"

// AuditEntry is one change: who made it, to what, and what it was before and after. It names no member. An edit of the catalog ([Runtime.Edit])
// has an entry for each change that it makes in what holds, as "endpoint posts.create member", 150, 200; one where it makes none, and lies in wait.
type AuditEntry struct {
	Seq     int64     // rises with each entry
	At      time.Time // to the millisecond
	Actor   string    // who; empty: perdiem itself
	Action  string    // one of the Action constants
	Subject string    // what was changed: "override acme posts.create", "token tok_…"
	Before  string    // what it was; empty where it did not exist, or is not for the audit
	After   string    // what it is; the same
}

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
