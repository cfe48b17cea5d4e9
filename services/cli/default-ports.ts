/** Where things listen when nobody says otherwise. */
export const NATS_PORT = 4_222
/** The operator's. */
export const HTTP_PORT = 8_780
export const GATEWAY_PORT = 8_781
