package exactlyonce

import "context"

// Each bank has so many accounts, with so many cents in each at first.
const (
	accounts     = 8
	openingCents = 1_000_000
)

// channel is where a bank publishes the transfers that it has made, after the
// bank's prefix.
const channel = "transfers.made"

// Transfer is money on its way from an account of one bank to an account of the
// other. It is the payload of an event.
type Transfer struct {
	ID           int64
	Payer, Payee int64 // accounts
	Cents        int64
}

// tables make a bank's books. The credits have no key on purpose: one that is
// made twice is to be found, rather than refused.
var tables = []string{
	"CREATE TABLE accounts (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL)",
	"CREATE TABLE debits (id BIGINT PRIMARY KEY, payer BIGINT NOT NULL, payee BIGINT NOT NULL, cents BIGINT NOT NULL)",
	"CREATE TABLE credits (id BIGINT NOT NULL, payee BIGINT NOT NULL, cents BIGINT NOT NULL)",
}

// execFunc runs a statement in a transaction. Arguments are question marks,
// whatever the database is.
type execFunc func(ctx context.Context, statement string, args ...any) error

// debit takes a transfer from its payer, and notes it.
func debit(ctx context.Context, exec execFunc, t Transfer) error {
	if err := exec(ctx, "INSERT INTO debits (id, payer, payee, cents) VALUES (?, ?, ?, ?)", t.ID, t.Payer, t.Payee, t.Cents); err != nil {
		return err
	}
	return exec(ctx, "UPDATE accounts SET cents = cents - ? WHERE id = ?", t.Cents, t.Payer)
}

// credit gives a transfer to its payee, and notes it.
func credit(ctx context.Context, exec execFunc, t Transfer) error {
	if err := exec(ctx, "INSERT INTO credits (id, payee, cents) VALUES (?, ?, ?)", t.ID, t.Payee, t.Cents); err != nil {
		return err
	}
	return exec(ctx, "UPDATE accounts SET cents = cents + ? WHERE id = ?", t.Cents, t.Payee)
}
