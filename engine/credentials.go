package engine

import "context"

// Credentials is implemented by engines that keep user names with what proves
// their passwords, which all of toot's own do. A realm is a set of users; its
// name is a key such as "org.example.publisher.toot.auth.credentials_store".
// What is empty (a realm, a user name, a proof) is ErrInvalid.
//
// What a method wrote is seen by every engine on the store at once.
type Credentials interface {
	// Credential returns the proof kept under a user name, nil if there is
	// none.
	Credential(ctx context.Context, realm, username string) (proof []byte, err error)
	// Usernames returns the user names of a realm in ascending order.
	Usernames(ctx context.Context, realm string) ([]string, error)
	// PutCredential keeps a proof under a user name, instead of the one that
	// was there, if any.
	PutCredential(ctx context.Context, realm, username string, proof []byte) error
	// RemoveCredential deletes a user name and reports whether it was there.
	RemoveCredential(ctx context.Context, realm, username string) (removed bool, err error)
}
