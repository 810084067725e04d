// Package archtest holds the rules of this module that a compiler does not know, as tests: who may import whom, which is the table in
// ARCHITECTURE.md; that each package says what it is for; that no package reads the environment behind its caller's back; and that
// documents name every key of the configuration, tests that exist, and link to files that do.
//
// An exception to a rule stands beside the rule, with its reason.
package archtest
